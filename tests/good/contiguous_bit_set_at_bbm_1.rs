//! Sixteen live pages get the contiguous bit, one by one, at FEAT_BBM level 1.
//!
//! ```text
//!     UVA + n -> A + n            16 pages, live
//!     store  UVA + n -> A + n C   n = 0 .. 15
//!     DSB ISHST; TLBI RVAALE1IS UVA, 16 pages; DSB ISH
//! ```
//! From level 1 on the bit alone needs no break (R_KHRBC); until the flush an access may take a conflict abort (R_FCPSG).

use tests::lab::*;

/// The user sees A, or a fault that goes away.
pub(crate) fn run(machine: MachineDesc) {
    on(with_bbm(machine, BbmLevel::Level1), |mut lab| {
        let first = lab.slot(UVA, Level::L3);
        make_group(first, A, USER_RW);
        make_group(first, A, USER_RW | CONTIGUOUS);
        assert!([Ok(0), Err(UserFault(UVA))].contains(&user_load(UVA)));
        let (tag, depth, level) = (Tag::Asid(ASID), Depth::LeafOnly, Some(Level::L3));
        flush_by(Tlbi::Range { start: UVA, pages: GROUP, tag, depth, level }, FlushScope::Broadcast);
        assert_eq!(user_load(UVA), Ok(0));
    });
}
