//! A contiguous group is taken apart without FEAT_BBM, and one page of it freed.
//!
//! ```text
//!     UVA + n -> A + n C          16 pages, live
//!     store  all -> 0
//!     DSB ISHST; TLBI RVAALE1IS UVA, 16 pages; DSB ISH
//!     store  UVA + n -> A + n     all but the third
//!     free   A + 3
//! ```
//! The third page has no translation left: neither its own nor that of the group.

use tests::lab::*;

/// Fifteen come back.
pub(crate) fn run(machine: MachineDesc) {
    on(with_bbm(machine, BbmLevel::Level0), |mut lab| {
        let first = lab.map_group(UVA, A, USER_RW);
        for n in 0..GROUP {
            Machine::write_desc(first.add(8 * n), Desc::INVALID);
        }
        let (tag, depth, level) = (Tag::Asid(ASID), Depth::LeafOnly, Some(Level::L3));
        flush_by(Tlbi::Range { start: UVA, pages: GROUP, tag, depth, level }, FlushScope::Broadcast);
        for n in (0..GROUP).filter(|&n| n != 3) {
            make(first.add(8 * n), page(A.add(n * PAGE_SIZE), USER_RW));
        }
        Machine::released(A.add(3 * PAGE_SIZE), PAGE_SIZE);
        assert_eq!(user_load(UVA.add(3 * PAGE_SIZE)), Err(UserFault(UVA.add(3 * PAGE_SIZE))));
    });
}
