//! A fork makes the parent's entry read-only, and the child runs before that is flushed.
//!
//! ```text
//!     root 1, ASID 1   UVA -> A rw    the parent: 1 is there, and TLBs hold it
//!     store  UVA -> A r-; DSB ISHST   no TLBI
//!     root 2, ASID 2   UVA -> A r-    the child
//!     parent writes 2                 may still succeed
//! ```
//! A permission that was taken away holds from the flush on (R_GPPYH), which a fork owes for all of the parent.

use tests::lab::*;

/// Said by the test itself, where the write succeeds.
pub(crate) const SENTENCE: &str = "the child has read what the parent wrote after the fork";

/// Trusts the descriptor in memory.
pub(crate) fn run(machine: MachineDesc) {
    on(machine, |mut lab| {
        let (parent, child) = ((USER_ROOT, ASID), (lab.table(), Asid::new(2)));
        let slot = lab.map(UVA, A, USER_RW);
        assert_eq!(user_store(UVA, 1), Ok(()));
        make(slot, page(A, USER_RO));
        Machine::set_user_root(Some(child));
        lab.map(UVA, A, USER_RO);
        Machine::set_user_root(Some(parent));
        // It may fault, as it ought to.
        let _ = user_store(UVA, 2);
        flush(UVA);
        Machine::set_user_root(Some(child));
        assert!(user_load(UVA) == Ok(1), "{SENTENCE}");
    });
}
