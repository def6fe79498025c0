//! A fork shares a page, and the parent's entry goes on to grant writing.
//!
//! ```text
//!     root 1, ASID 1   UVA -> A rw    the parent: 1 is there
//!     root 2, ASID 2   UVA -> A r-    the child
//!     parent writes 2, child reads    1 is what it was born with
//! ```
//! To the architecture it is shared memory like any other: nothing but the owner's own rule stops it.

use tests::lab::*;

/// Said by the test itself.
pub(crate) const SENTENCE: &str = "the child has read what the parent wrote after the fork";

/// Takes no right away.
pub(crate) fn run(machine: MachineDesc) {
    on(machine, |mut lab| {
        let (parent, child) = ((USER_ROOT, ASID), (lab.table(), Asid::new(2)));
        lab.map(UVA, A, USER_RW);
        assert_eq!(user_store(UVA, 1), Ok(()));
        Machine::set_user_root(Some(child));
        lab.map(UVA, A, USER_RO);
        Machine::set_user_root(Some(parent));
        assert_eq!(user_store(UVA, 2), Ok(()));
        Machine::set_user_root(Some(child));
        assert!(user_load(UVA) == Ok(1), "{SENTENCE}");
    });
}
