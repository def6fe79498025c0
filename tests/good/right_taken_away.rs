//! A page is made read-only, and relied upon after the flush.
//!
//! ```text
//!     UVA -> A rw                 live on both vCPUs
//!     store  UVA -> A r-; DSB ISHST; TLBI VALE1IS UVA, ASID 1; DSB ISH
//!     copy   A                    nobody writes it any more
//! ```
//! A change of rights needs a flush and no break (R_GPPYH).

use tests::lab::*;

/// What copy-on-write stands on.
pub(crate) fn run(machine: MachineDesc) {
    on(machine, |mut lab| {
        start_vcpu_1();
        let slot = lab.map(UVA, A, USER_RW);
        Machine::write_desc(slot, page(A, USER_RO));
        let (tag, depth, level) = (Tag::Asid(ASID), Depth::LeafOnly, Some(Level::L3));
        flush_by(Tlbi::Va { va: UVA, tag, depth, level }, FlushScope::Broadcast);
        Machine::copy(B, A, PAGE_SIZE);
        on_vcpu_1(|| assert_eq!(user_store(UVA, 1), Err(UserFault(UVA))));
        assert!(Machine::equal(A, B, PAGE_SIZE));
    });
}
