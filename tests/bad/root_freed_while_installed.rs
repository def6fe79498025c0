//! A root is left on one vCPU and given back while another still has it.
//!
//! ```text
//!     vCPUs 0 and 1               TTBR0 = root, ASID 1
//!     vCPU 0                      TTBR0 = none; TLBI ASIDE1IS 1; DSB ISH
//!     vCPU 0                      free root: refused, vCPU 1 walks it
//! ```
//! No TLBI keeps a vCPU from walking what its TTBR0_EL1 names.

use tests::lab::*;

/// Who can still walk what is given back.
pub(crate) const SENTENCE: &str = concat!(
    "model: vCPU 0 gives back 0x0000000040001000, a table of level 0 for 0x0000000000000000 that vCPU 1 can ",
    "still walk",
);

/// Flushes, but does not ask who runs.
pub(crate) fn run(machine: MachineDesc) {
    on(machine, |_| {
        start_vcpu_1();
        Machine::set_user_root(None);
        flush_by(Tlbi::Asid(ASID), FlushScope::Broadcast);
        Machine::released(USER_ROOT, PAGE_SIZE);
    });
}
