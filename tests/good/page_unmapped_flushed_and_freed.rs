//! A page is unmapped, flushed, and given back.
//!
//! ```text
//!     UVA -> A                    live on both vCPUs
//!     store  UVA -> 0; DSB ISHST; TLBI VALE1IS UVA, ASID 1, TTL = level 3; DSB ISH
//!     free   A; zero A
//! ```
//! Only a leaf has changed, so last-level entries are enough, and the hint is right (D8.14.5).

use tests::lab::*;

/// The narrowest flush that will do.
pub(crate) fn run(machine: MachineDesc) {
    on(machine, |mut lab| {
        start_vcpu_1();
        let slot = lab.map(UVA, A, USER_RW);
        assert_eq!(user_store(UVA, 1), Ok(()));
        Machine::write_desc(slot, Desc::INVALID);
        let (tag, depth, level) = (Tag::Asid(ASID), Depth::LeafOnly, Some(Level::L3));
        flush_by(Tlbi::Va { va: UVA, tag, depth, level }, FlushScope::Broadcast);
        Machine::released(A, PAGE_SIZE);
        Machine::zero(A, PAGE_SIZE);
        on_vcpu_1(|| assert_eq!(user_load(UVA), Err(UserFault(UVA))));
    });
}
