//! 512 pages become a block without FEAT_BBM, and their table is freed.
//!
//! ```text
//!     UVA -> T: 512 pages -> A    live
//!     store  UVA -> 0
//!     DSB ISHST; TLBI RVAE1IS UVA, 512 pages; DSB ISH
//!     store  UVA .. +2M -> A
//!     free   T
//! ```
//! The flush names all that the table led to, at all levels (R_DDMVT): pages and walk caches.

use tests::lab::*;

/// Promotion.
pub(crate) fn run(machine: MachineDesc) {
    on(with_bbm(machine, BbmLevel::Level0), |mut lab| {
        let slot = lab.slot(UVA, Level::L2);
        let pages = lab.pages(A, USER_RW);
        make(slot, Desc::table(pages));
        Machine::write_desc(slot, Desc::INVALID);
        let (tag, depth, level) = (Tag::Asid(ASID), Depth::AllLevels, None);
        flush_by(Tlbi::Range { start: UVA, pages: 512, tag, depth, level }, FlushScope::Broadcast);
        make(slot, block(A, USER_RW));
        Machine::released(pages, PAGE_SIZE);
        assert_eq!(user_store(UVA.add(511 * PAGE_SIZE), 1), Ok(()));
    });
}
