//! A space ends: its root is left everywhere, flushed by ASID, and all of it given back.
//!
//! ```text
//!     vCPUs 0 and 1               TTBR0 = root, ASID 1; both leave it
//!     TLBI ASIDE1IS 1; DSB ISH
//!     free   A, the tables, the root
//!     TTBR0 = root 2, ASID 1
//! ```
//! Nobody walks a root that is not installed, and nothing that was walked is held (D8.16.4).

use tests::lab::*;

/// Not one entry is broken by itself.
pub(crate) fn run(machine: MachineDesc) {
    on(machine, |mut lab| {
        start_vcpu_1();
        let leaf = lab.map(UVA, A, USER_RW);
        assert_eq!(user_store(UVA, 1), Ok(()));
        on_vcpu_1(|| Machine::set_user_root(None));
        Machine::set_user_root(None);
        flush_by(Tlbi::Asid(ASID), FlushScope::Broadcast);
        Machine::released(A, PAGE_SIZE);
        Machine::released(leaf.align_down(PAGE_SIZE), PAGE_SIZE);
        Machine::released(USER_ROOT, PAGE_SIZE);
        Machine::set_user_root(Some((lab.table(), ASID)));
        assert_eq!(user_load(UVA), Err(UserFault(UVA)));
    });
}
