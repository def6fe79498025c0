//! Sixteen live pages become a contiguous group without FEAT_BBM.
//!
//! ```text
//!     KVA + n -> A + n            16 pages, live
//!     store  all -> 0
//!     DSB ISHST; TLBI RVAALE1IS KVA, 16 pages; DSB ISH
//!     store  KVA + n -> A + n C   all
//! ```
//! All sixteen are broken before the first is made (D8.7.1, R_DDMVT).

use tests::lab::*;

/// As Linux folds without FEAT_BBM level 2.
pub(crate) fn run(machine: MachineDesc) {
    on(with_bbm(machine, BbmLevel::Level0), |mut lab| {
        let first = lab.slot(KVA, Level::L3);
        make_group(first, A, RW);
        for n in 0..GROUP {
            Machine::write_desc(first.add(8 * n), Desc::INVALID);
        }
        let (tag, depth, level) = (Tag::AllAsids, Depth::LeafOnly, Some(Level::L3));
        flush_by(Tlbi::Range { start: KVA, pages: GROUP, tag, depth, level }, FlushScope::Broadcast);
        make_group(first, A, RW | CONTIGUOUS);
        assert_eq!(kernel_read(KVA.add(15 * PAGE_SIZE)), Ok(A.add(15 * PAGE_SIZE)));
    });
}
