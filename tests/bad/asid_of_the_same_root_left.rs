//! A root goes back to an ASID that it had before another one, without a flush.
//!
//! ```text
//!     root under ASID 1, KVA walked     held under ASID 1
//!     root under ASID 2
//!     break; TLBI of ASID 2; DSB        what is held under ASID 1 stays
//!     root under ASID 1                 refused
//! ```
//! A flush by the present ASID does not reach what was walked under an earlier one (R_NWYRD).

use tests::lab::*;

/// The root's own translations, from before.
pub(crate) const SENTENCE: &str = concat!(
    "model: vCPU 0 installs root 0x0000000040001000 under ASID 1, which was that of root 0x0000000040001000: ",
    "what it holds of that was never flushed (D8.16.4)",
);

/// Unmaps under the second ASID, and goes back to the first.
pub(crate) fn run(machine: MachineDesc) {
    on(machine, |mut lab| {
        let at = lab.map(UVA, A, USER_RW);
        let second = Asid::new(2);
        Machine::set_user_root(Some((USER_ROOT, second)));
        Machine::write_desc(at, Desc::INVALID);
        flush_by(Tlbi::Asid(second), FlushScope::Broadcast);
        Machine::set_user_root(Some((USER_ROOT, ASID)));
    });
}
