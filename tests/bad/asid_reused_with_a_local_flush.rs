//! An ASID passes to another root after a flush of one vCPU, and another vCPU has run it.
//!
//! ```text
//!     vCPUs 0 and 1               TTBR0 = root 1, ASID 1; both leave it
//!     vCPU 0                      TLBI ASIDE1 1; DSB NSH
//!     vCPU 1                      TTBR0 = root 2, ASID 1: refused
//! ```
//! Each vCPU keeps what it walked; a rollover flushes all of them, or each before it runs the ASID (D8.16.4).

use tests::lab::*;

/// The vCPU that was forgotten.
pub(crate) const SENTENCE: &str = concat!(
    "model: vCPU 1 installs root 0x0000000040005000 under ASID 1, which was that of root ",
    "0x0000000040001000: what it holds of that was never flushed (D8.16.4)",
);

/// Rolls over with a flush of vCPU 0.
pub(crate) fn run(machine: MachineDesc) {
    on(machine, |mut lab| {
        start_vcpu_1();
        lab.map(UVA, A, USER_RW);
        on_vcpu_1(|| Machine::set_user_root(None));
        Machine::set_user_root(None);
        Machine::tlbi(Tlbi::Asid(ASID), FlushScope::Local);
        Machine::dsb(Dsb::Nsh);
        let other = lab.table();
        on_vcpu_1(|| Machine::set_user_root(Some((other, ASID))));
    });
}
