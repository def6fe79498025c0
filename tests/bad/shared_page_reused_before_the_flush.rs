//! The other root has unmapped a shared page, not flushed yet, and the page is reused.
//!
//! ```text
//!     root 2, ASID 2   UVA -> A r-    the child, on vCPU 0: TLBs hold it
//!     store  root 2: UVA -> 0         no TLBI
//!     store  root 1: UVA -> A rw      the parent, on vCPU 1, is the last that maps A; flush of ASID 1
//!     parent writes 2, child reads    may still read A
//! ```
//! An entry is gone when its flush is done. Until then it counts: by the reference that it held.

use tests::lab::*;

/// Said by the test itself, where the read succeeds.
pub(crate) const SENTENCE: &str = "the child has read what the parent wrote after the fork";

/// Counts entries, and not what TLBs hold.
pub(crate) fn run(machine: MachineDesc) {
    on(machine, |mut lab| {
        let (parent, child) = ((USER_ROOT, ASID), (lab.table(), Asid::new(2)));
        let of_parent = lab.map(UVA, A, USER_RO);
        Machine::set_user_root(Some(child));
        let of_child = lab.map(UVA, A, USER_RO);
        assert_eq!(user_load(UVA), Ok(0));
        make(of_child, Desc::INVALID);
        on_vcpu_1(|| {
            Machine::set_user_root(Some(parent));
            make(of_parent, page(A, USER_RW));
            let of_asid_1 = Tlbi::Va { va: UVA, tag: Tag::Asid(ASID), depth: Depth::AllLevels, level: None };
            flush_by(of_asid_1, FlushScope::Broadcast);
            assert_eq!(user_store(UVA, 2), Ok(()));
        });
        assert!(user_load(UVA) != Ok(2), "{SENTENCE}");
        flush(UVA);
    });
}
