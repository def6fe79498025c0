//! A write to a shared page gets the right to write, while another root still maps the page.
//!
//! ```text
//!     root 1, ASID 1   UVA -> A r-    the parent: 1 is there
//!     root 2, ASID 2   UVA -> A r-    the child
//!     store  root 1: UVA -> A rw; flush
//!     parent writes 2, child reads    1 is what it was born with
//! ```
//! The right comes back only where no other entry maps the page.

use tests::lab::*;

/// Said by the test itself.
pub(crate) const SENTENCE: &str = "the child has read what the parent wrote after the fork";

/// Asks nobody whether the page is shared.
pub(crate) fn run(machine: MachineDesc) {
    on(machine, |mut lab| {
        let (parent, child) = ((USER_ROOT, ASID), (lab.table(), Asid::new(2)));
        let slot = lab.map(UVA, A, USER_RW);
        assert_eq!(user_store(UVA, 1), Ok(()));
        make(slot, page(A, USER_RO));
        flush(UVA);
        Machine::set_user_root(Some(child));
        lab.map(UVA, A, USER_RO);
        Machine::set_user_root(Some(parent));
        make(slot, page(A, USER_RW));
        flush(UVA);
        assert_eq!(user_store(UVA, 2), Ok(()));
        Machine::set_user_root(Some(child));
        assert!(user_load(UVA) == Ok(1), "{SENTENCE}");
    });
}
