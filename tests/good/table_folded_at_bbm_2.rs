//! 512 pages become a block live at FEAT_BBM level 2.
//!
//! ```text
//!     UVA -> T: 512 pages -> A    live
//!     store  UVA .. +2M -> A
//!     DSB ISHST; TLBI ASIDE1IS 1; DSB ISH
//!     free   T
//! ```
//! Promotion in one store: what a user sees meanwhile is a page, the block, or a conflict abort (I_HYQMB).

use tests::lab::*;

/// The whole space is flushed at once.
pub(crate) fn run(machine: MachineDesc) {
    on(with_bbm(machine, BbmLevel::Level2), |mut lab| {
        let slot = lab.slot(UVA, Level::L2);
        let pages = lab.pages(A, USER_RW);
        make(slot, Desc::table(pages));
        make(slot, block(A, USER_RW));
        assert!([Ok(()), Err(UserFault(UVA))].contains(&user_store(UVA, 0)));
        flush_by(Tlbi::Asid(ASID), FlushScope::Broadcast);
        Machine::released(pages, PAGE_SIZE);
        assert_eq!(user_store(UVA, 1), Ok(()));
    });
}
