//! The other root has unmapped a shared page and flushed it: the page is reused, without a break.
//!
//! ```text
//!     root 2   UVA -> A r-            the child
//!     root 2   UVA -> 0; flush
//!     root 1   UVA -> A rw; flush     the parent: only the permission changes (R_GPPYH)
//!     parent writes 2
//! ```

use tests::lab::*;

/// Every step in its place.
pub(crate) fn run(machine: MachineDesc) {
    on(machine, |mut lab| {
        let (parent, child) = ((USER_ROOT, ASID), (lab.table(), Asid::new(2)));
        let of_parent = lab.map(UVA, A, USER_RO);
        assert_eq!(user_load(UVA), Ok(0));
        Machine::set_user_root(Some(child));
        let of_child = lab.map(UVA, A, USER_RO);
        assert_eq!(user_load(UVA), Ok(0));
        make(of_child, Desc::INVALID);
        flush(UVA);
        Machine::set_user_root(Some(parent));
        make(of_parent, page(A, USER_RW));
        flush(UVA);
        assert_eq!((user_store(UVA, 2), user_load(UVA)), (Ok(()), Ok(2)));
        Machine::set_user_root(Some(child));
        assert!(user_load(UVA).is_err());
    });
}
