//! 512 pages become a block live at FEAT_BBM level 1, by way of nT.
//!
//! ```text
//!     UVA -> T: 512 pages -> A    live
//!     store  UVA .. +2M -> A nT
//!     DSB ISHST; TLBI RVAE1IS UVA, 512 pages; DSB ISH
//!     store  UVA .. +2M -> A; flush
//! ```
//! With nT the block is not held beside the pages (R_MRRPW); without it, it may come when they are gone.

use tests::lab::*;

/// The table is freed after the first flush.
pub(crate) fn run(machine: MachineDesc) {
    on(with_bbm(machine, BbmLevel::Level1), |mut lab| {
        let slot = lab.slot(UVA, Level::L2);
        let pages = lab.pages(A, USER_RW);
        make(slot, Desc::table(pages));
        make(slot, block(A, USER_RW | PteFlags::NT));
        let (tag, depth, level) = (Tag::Asid(ASID), Depth::AllLevels, None);
        flush_by(Tlbi::Range { start: UVA, pages: 512, tag, depth, level }, FlushScope::Broadcast);
        Machine::released(pages, PAGE_SIZE);
        make(slot, block(A, USER_RW));
        flush(UVA);
        assert_eq!(user_load(UVA), Ok(0));
    });
}
