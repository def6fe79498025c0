//! ASIDs run out, and begin anew after a flush of everything on every vCPU.
//!
//! ```text
//!     vCPUs 0 and 1               TTBR0 = root 1, ASID 1; both leave it
//!     TLBI VMALLE1IS; DSB ISH
//!     vCPU 1                      TTBR0 = root 2, ASID 1
//! ```
//! Nothing is held for any ASID, so each may go to whoever asks (D8.16.4).

use tests::lab::*;

/// The second root sees nothing of the first.
pub(crate) fn run(machine: MachineDesc) {
    on(machine, |mut lab| {
        start_vcpu_1();
        lab.map(UVA, A, USER_RW);
        on_vcpu_1(|| Machine::set_user_root(None));
        Machine::set_user_root(None);
        flush_by(Tlbi::All, FlushScope::Broadcast);
        let other = lab.table();
        on_vcpu_1(|| {
            Machine::set_user_root(Some((other, ASID)));
            assert_eq!(user_load(UVA), Err(UserFault(UVA)));
        });
    });
}
