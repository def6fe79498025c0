//! Two roots map the same address under two ASIDs, and take turns without a flush.
//!
//! ```text
//!     TTBR0 = root 1, ASID 1      UVA -> A
//!     TTBR0 = root 2, ASID 2      UVA -> B
//!     TTBR0 = root 1, ASID 1      UVA is A
//! ```
//! What is held is tagged (R_NWYRD), and TTBR0_EL1 changes root and ASID in one write (D8.16.4).

use tests::lab::*;

/// Each sees its own.
pub(crate) fn run(machine: MachineDesc) {
    on(machine, |mut lab| {
        let (one, two) = ((USER_ROOT, ASID), (lab.table(), Asid::new(2)));
        lab.map(UVA, A, USER_RW);
        assert_eq!(user_store(UVA, 1), Ok(()));
        Machine::set_user_root(Some(two));
        lab.map(UVA, B, USER_RW);
        assert_eq!(user_store(UVA, 2), Ok(()));
        Machine::set_user_root(Some(one));
        assert_eq!(user_load(UVA), Ok(1));
        Machine::set_user_root(Some(two));
        assert_eq!(user_load(UVA), Ok(2));
    });
}
