//! One test per row of the table, each with the nearest cases that the row does not reach.

use super::*;
use crate::addr::PhysAddr;

const A: PhysAddr = PhysAddr::new(0x4020_0000);
const B: PhysAddr = PhysAddr::new(0x4040_0000);
const RW: PteFlags = PteFlags::KERNEL_RW;
const RO: PteFlags = PteFlags::KERNEL_RO;
const CTX: Ctx = Ctx { bbm: BbmLevel::Level0, hw_dirty: HwDirty::Disabled, contents: Contents::Differ };
const EQUAL: Ctx = Ctx { contents: Contents::Equal, ..CTX };
const HW_DIRTY: Ctx = Ctx { hw_dirty: HwDirty::Enabled, ..EQUAL };
const BBM_LEVELS: [BbmLevel; 4] = [BbmLevel::Level0, BbmLevel::Level1, BbmLevel::Level2, BbmLevel::Level3];

fn block(pa: PhysAddr, flags: PteFlags) -> Desc {
    Desc::leaf(pa, Level::L2, flags)
}

fn page(pa: PhysAddr, flags: PteFlags) -> Desc {
    Desc::leaf(pa, Level::L3, flags)
}

/// The need at level 2.
fn need(old: Desc, new: Desc, ctx: Ctx) -> BbmNeed {
    bbm_need(old, new, Level::L2, &ctx)
}

/// The needs of both directions.
fn both(a: Desc, b: Desc, ctx: Ctx) -> [BbmNeed; 2] {
    [need(a, b, ctx), need(b, a, ctx)]
}

fn broken(why: Why) -> BbmNeed {
    BbmNeed::BreakBeforeMake { why }
}

/// Row 1 (I_WZCBG): what faults is never held, also a valid pattern that the level does not have.
#[test]
fn row_1_from_invalid() {
    assert_eq!(need(Desc::INVALID, block(A, RW), CTX), NONE);
    assert_eq!(need(Desc::INVALID, Desc::table(A), CTX), NONE);
    let pattern_of_a_block = block(A, RW);
    assert_eq!(bbm_need(pattern_of_a_block, page(B, RW), Level::L3, &CTX), NONE);
    assert_eq!(bbm_need(pattern_of_a_block, Desc::table(B), Level::L0, &CTX), NONE);
    assert_ne!(need(pattern_of_a_block, block(B, RW), CTX), NONE);
}

/// Row 2 (D8.3.2): bits 58:55 are software's; their neighbours are not.
#[test]
fn row_2_nothing_held_changes() {
    let desc = block(A, RW);
    let with = |bit: u32| Desc::from_raw(desc.raw() | 1 << bit);
    assert_eq!(need(desc, desc, CTX), NONE);
    for bit in 55..=58 {
        assert_eq!(both(desc, with(bit), CTX), [NONE; 2], "bit {bit}");
    }
    assert_eq!(both(desc, with(59), CTX), [FLUSH; 2]);
    assert_eq!(both(block(A, RW - PteFlags::UXN), desc, CTX), [FLUSH; 2]);
}

/// Row 3 (D8.4.6): a leaf with AF clear may be replaced by anything; with AF set it may not.
#[test]
fn row_3_old_never_accessed() {
    let fresh = block(A, RW - PteFlags::ACCESSED);
    for new in [block(A, RW), block(B, RO), Desc::table(B), Desc::INVALID] {
        assert_eq!(need(fresh, new, CTX), NONE);
        assert_ne!(need(block(A, RW | PteFlags::USER), new, CTX), NONE);
    }
    assert_eq!(need(block(A, RW), fresh, CTX), FLUSH, "the flag cleared is row 19");
    assert_ne!(need(Desc::table(A), Desc::table(B), CTX), NONE, "a table has no access flag");
}

/// Row 4 (R_GPPYH): taking away needs the flush, and no more; the way back is row 1.
#[test]
fn row_4_to_invalid() {
    for old in [block(A, RW), Desc::table(A)] {
        assert_eq!(both(old, Desc::INVALID, CTX), [FLUSH, NONE]);
    }
    assert_eq!(bbm_need(page(A, RW), block(A, RW), Level::L3, &CTX), FLUSH, "no blocks at level 3");
}

/// Row 5 (R_WHZWS, 2nd bullet): hardware writes AF and dirty state through a stale table.
#[test]
fn row_5_table_written_by_hardware() {
    let why = Why::OutputAddressWritable;
    assert_eq!(both(Desc::table(A), Desc::table(B), HW_DIRTY), [broken(why); 2]);
    assert_eq!(need(Desc::table(A), Desc::table(A), HW_DIRTY), NONE);
}

/// Rows 6 and 7 (R_WHZWS, 2nd bullet): another table must hold the same descriptors.
#[test]
fn rows_6_and_7_other_table() {
    let why = Why::OutputAddressContents;
    for bbm in BBM_LEVELS {
        assert_eq!(both(Desc::table(A), Desc::table(B), Ctx { bbm, ..CTX }), [broken(why); 2]);
        assert_eq!(both(Desc::table(A), Desc::table(B), Ctx { bbm, ..EQUAL }), [FLUSH; 2]);
    }
}

/// Row 8 (R_PVTFW): no level relaxes a change of size that changes the translation as well.
#[test]
fn row_8_resize_translating_differently() {
    for bbm in BBM_LEVELS {
        for flags in [RW, RW | PteFlags::NT] {
            let needs = both(block(A, flags), Desc::table(B), Ctx { bbm, ..CTX });
            assert_eq!(needs, [broken(Why::Size); 2], "{bbm:?}");
        }
    }
}

/// Rows 9 and 11: an equal table and block replace each other at BBM 2 and 3 only.
#[test]
fn rows_9_and_11_resize_by_level() {
    let needs = |bbm| both(block(A, RW), Desc::table(B), Ctx { bbm, ..EQUAL });
    assert_eq!(needs(BbmLevel::Level0), [broken(Why::Size); 2]);
    assert_eq!(needs(BbmLevel::Level1), [broken(Why::Size); 2]);
    assert_eq!(needs(BbmLevel::Level2), [FLUSH; 2]);
    assert_eq!(needs(BbmLevel::Level3), [FLUSH; 2]);
}

/// Row 10 (R_MRRPW): at BBM 1 the block must have nT; at BBM 0 nT means nothing.
#[test]
fn row_10_resize_with_nt() {
    let needs = |bbm| both(block(A, RW | PteFlags::NT), Desc::table(B), Ctx { bbm, ..EQUAL });
    assert_eq!(needs(BbmLevel::Level1), [FLUSH; 2]);
    assert_eq!(needs(BbmLevel::Level0), [broken(Why::Size); 2]);
}

/// Row 12 (R_WHZWS, 1st bullet): each attribute index and shareability bit, whatever the level.
#[test]
fn row_12_memory_type() {
    for bit in [PteFlags::DEVICE, PteFlags::ATTR_1, PteFlags::ATTR_2, PteFlags::SH_0, PteFlags::SH_1] {
        for bbm in BBM_LEVELS {
            let needs = both(block(A, RO), block(A, RO ^ bit), Ctx { bbm, ..EQUAL });
            assert_eq!(needs, [broken(Why::MemoryType); 2], "{bit:?}");
        }
    }
    assert_eq!(both(block(A, RO), block(A, RO ^ PteFlags::USER), EQUAL), [FLUSH; 2]);
}

/// Row 13 (R_WHZWS, 2nd bullet): one writable side is enough, however equal the memory is.
#[test]
fn row_13_output_address_writable() {
    let why = Why::OutputAddressWritable;
    for bbm in BBM_LEVELS {
        let ctx = Ctx { bbm, ..EQUAL };
        assert_eq!(both(block(A, RW), block(B, RO), ctx), [broken(why); 2]);
        assert_eq!(both(block(A, RW), block(B, RW), ctx), [broken(why); 2]);
    }
    assert_eq!(both(block(A, RW), block(A, RO), EQUAL), [FLUSH; 2], "the address stays");
}

/// Row 13 again: DBM grants write exactly where hardware manages dirty state.
#[test]
fn row_13_dirty_by_hardware() {
    let (old, new) = (block(A, RO | PteFlags::DBM), block(B, RO));
    assert_eq!(both(old, new, HW_DIRTY), [broken(Why::OutputAddressWritable); 2]);
    assert_eq!(both(old, new, EQUAL), [FLUSH; 2]);
    assert_eq!(both(block(A, RO), new, HW_DIRTY), [FLUSH; 2]);
}

/// Row 14 (R_WHZWS, 2nd bullet): read-only to read-only is about the bytes.
#[test]
fn row_14_output_address_contents() {
    assert_eq!(both(block(A, RO), block(B, RO), CTX), [broken(Why::OutputAddressContents); 2]);
    assert_eq!(both(block(A, RO), block(B, RO), EQUAL), [FLUSH; 2]);
    let old = page(A, RO);
    let next_frame = page(A.add(0x1000), RO);
    let need = bbm_need(old, next_frame, Level::L3, &CTX);
    assert_eq!(need, broken(Why::OutputAddressContents), "accessed pages are not exempt");
}

/// Rows 15 and 17 (R_WHZWS, 3rd bullet; R_KHRBC): the contiguous bit alone, by level.
#[test]
fn rows_15_and_17_contiguous() {
    let needs = |bbm| both(block(A, RW), block(A, RW | PteFlags::CONTIGUOUS), Ctx { bbm, ..CTX });
    assert_eq!(needs(BbmLevel::Level0), [broken(Why::Size); 2]);
    for bbm in [BbmLevel::Level1, BbmLevel::Level2, BbmLevel::Level3] {
        assert_eq!(needs(bbm), [FLUSH; 2]);
    }
}

/// Row 16 (R_PVTFW): the contiguous bit with a permission or an address beside it.
#[test]
fn row_16_contiguous_and_more() {
    let ctx = Ctx { bbm: BbmLevel::Level3, ..EQUAL };
    let folded = RO | PteFlags::CONTIGUOUS;
    assert_eq!(both(block(A, RW), block(A, folded), ctx), [broken(Why::Size); 2]);
    assert_eq!(both(block(A, RO), block(B, folded), ctx), [broken(Why::Size); 2]);
    assert_eq!(both(block(A, RO), block(A, folded), ctx), [FLUSH; 2]);
}

/// Row 18 (R_WHZWS, 4th bullet): the rule names this direction; the other is row 19.
#[test]
fn row_18_global_over_non_global() {
    let private = block(A, RO | PteFlags::NOT_GLOBAL);
    for bbm in BBM_LEVELS {
        let ctx = Ctx { bbm, ..EQUAL };
        assert_eq!(both(private, block(A, RO), ctx), [broken(Why::Global), FLUSH]);
    }
}

/// Row 19 (R_GPPYH): permissions in either direction, DBM, AF cleared and nT need the flush alone.
#[test]
fn row_19_flush_after() {
    let bits =
        [PteFlags::READ_ONLY, PteFlags::USER, PteFlags::PXN, PteFlags::UXN, PteFlags::DBM, PteFlags::NT];
    for bit in bits {
        assert_eq!(both(block(A, RW), block(A, RW ^ bit), CTX), [FLUSH; 2], "{bit:?}");
    }
    assert_eq!(need(block(A, RW), block(A, RW - PteFlags::ACCESSED), CTX), FLUSH);
}

/// A refusal is a sentence with its bullet.
#[test]
fn needs_are_sentences() {
    let text = need(block(A, RW), block(B, RW), CTX).to_string();
    assert_eq!(
        text,
        "break-before-make is needed: the output address changes while one side grants write (R_WHZWS, \
         second bullet)"
    );
}
