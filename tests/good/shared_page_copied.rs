//! A fork shares a page read-only, and the parent's first write copies it.
//!
//! ```text
//!     root 1   UVA -> A rw            1 is there
//!     root 1   UVA -> A r-; flush     root 2   UVA -> A r-
//!     copy A to B
//!     root 1   UVA -> 0; flush; UVA -> B rw
//!     parent writes 2                 child reads 1
//! ```
//! The copy may be made before the break: nobody can write to A.

use tests::lab::*;

/// Every step in its place.
pub(crate) fn run(machine: MachineDesc) {
    on(machine, |mut lab| {
        let (parent, child) = ((USER_ROOT, ASID), (lab.table(), Asid::new(2)));
        let slot = lab.map(UVA, A, USER_RW);
        assert_eq!(user_store(UVA, 1), Ok(()));
        make(slot, page(A, USER_RO));
        flush(UVA);
        Machine::set_user_root(Some(child));
        lab.map(UVA, A, USER_RO);
        assert_eq!(user_load(UVA), Ok(1));
        Machine::set_user_root(Some(parent));
        assert!(user_store(UVA, 2).is_err());
        Machine::copy(B, A, PAGE_SIZE);
        make(slot, Desc::INVALID);
        flush(UVA);
        make(slot, page(B, USER_RW));
        assert_eq!((user_load(UVA), user_store(UVA, 2), user_load(UVA)), (Ok(1), Ok(()), Ok(2)));
        Machine::set_user_root(Some(child));
        assert_eq!(user_load(UVA), Ok(1));
    });
}
