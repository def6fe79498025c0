//! One test per row of the table, each in both directions and with the nearest cases that the row does not reach.

mod contents;
mod oracle;
mod sequences;
mod table;

use super::*;
use crate::addr::PhysAddr;

const A: PhysAddr = PhysAddr::new(0x4_4000_0000);
const B: PhysAddr = PhysAddr::new(0x4_8000_0000);
const RW: PteFlags = PteFlags::KERNEL_RW;
const RO: PteFlags = PteFlags::KERNEL_RO;
const CTX: Ctx = Ctx { bbm: BbmLevel::Level0, hw_dirty: HwDirty::Disabled, contents: Contents::Differ };
const EQUAL: Ctx = Ctx { contents: Contents::Equal, ..CTX };
const HW: Ctx = Ctx { hw_dirty: HwDirty::Enabled, ..CTX };
const HW_EQUAL: Ctx = Ctx { hw_dirty: HwDirty::Enabled, ..EQUAL };
const BBM_LEVELS: [BbmLevel; 4] = [BbmLevel::Level0, BbmLevel::Level1, BbmLevel::Level2, BbmLevel::Level3];
const LEAVES: [Level; 3] = [Level::L1, Level::L2, Level::L3];

/// A leaf at A, and one at B.
fn at_a(level: Level, flags: PteFlags) -> Desc {
    Desc::leaf(A, level, flags)
}
fn at_b(level: Level, flags: PteFlags) -> Desc {
    Desc::leaf(B, level, flags)
}
fn block(flags: PteFlags) -> Desc {
    at_a(Level::L2, flags)
}
/// `desc` with these bits flipped.
fn flip(desc: Desc, bits: u64) -> Desc {
    Desc::from_raw(desc.raw() ^ bits)
}

/// The rows of both directions.
fn rows(old: Desc, new: Desc, level: Level, ctx: Ctx) -> [Row; 2] {
    [bbm_row(old, new, level, &ctx), bbm_row(new, old, level, &ctx)]
}

/// Both directions give `row`, at every level that has leaves and for every FEAT_BBM level.
fn both_everywhere(of: impl Fn(Level) -> [Desc; 2], ctx: Ctx, row: Row) {
    for level in LEAVES {
        for bbm in BBM_LEVELS {
            let [a, b] = of(level);
            assert_eq!(
                rows(a, b, level, Ctx { bbm, ..ctx }),
                [row; 2],
                "{a} and {b}, level {level}, {bbm:?}"
            );
        }
    }
}

/// Row 1 (I_WZCBG): what faults is never held, also a valid pattern that the level does not have.
#[test]
fn row_01_from_what_faults() {
    let everything = [Desc::INVALID, block(RW), Desc::table(A), at_a(Level::L3, RO), Desc::from_raw(1)];
    for ctx in [CTX, EQUAL, HW, HW_EQUAL] {
        for new in everything {
            for level in Level::ALL {
                for faults in [Desc::INVALID, Desc::from_raw(0xffff_ffff_ffff_fffe)] {
                    assert_eq!(bbm_row(faults, new, level, &ctx), Row::FromFault);
                }
            }
            for level in [Level::L0, Level::L3] {
                assert_eq!(
                    bbm_row(block(RW), new, level, &ctx),
                    Row::FromFault,
                    "no blocks at level {level}"
                );
            }
            assert_ne!(bbm_row(block(RW), new, Level::L2, &ctx), Row::FromFault);
            assert_ne!(bbm_row(Desc::table(B), new, Level::L0, &ctx), Row::FromFault);
        }
    }
}

/// Row 2 (D8.3): the same, or apart in bits that hardware ignores. Their neighbours are not ignored.
#[test]
fn row_02_nothing_changes() {
    for ctx in [CTX, EQUAL, HW] {
        for level in LEAVES {
            let leaf = at_a(level, RW);
            assert_eq!(bbm_row(leaf, leaf, level, &ctx), Row::NothingChanges);
            for bit in 55..=58 {
                assert_eq!(
                    rows(leaf, flip(leaf, 1 << bit), level, ctx),
                    [Row::NothingChanges; 2],
                    "bit {bit}"
                );
            }
            for bit in [54, 59] {
                let needs = rows(leaf, flip(leaf, 1 << bit), level, ctx).map(Row::need);
                assert_eq!(needs, [BbmNeed::FlushAfter; 2], "bit {bit}");
            }
        }
        let table = Desc::table(A);
        for bit in (2..=11).chain(51..=58) {
            assert_eq!(rows(table, flip(table, 1 << bit), Level::L1, ctx), [Row::NothingChanges; 2], "{bit}");
        }
        for bit in [12, 59] {
            assert_ne!(bbm_row(table, flip(table, 1 << bit), Level::L1, &ctx), Row::NothingChanges, "{bit}");
        }
    }
}

/// Row 3 (I_WZCBG): a leaf with AF clear may become anything. With AF set it may not, nor where hardware sets AF.
#[test]
fn row_03_never_accessed() {
    for level in LEAVES {
        let fresh = at_a(level, RW - PteFlags::ACCESSED);
        let mut others = vec![at_a(level, RW), at_b(level, RO), Desc::INVALID];
        if level != Level::L3 {
            others.push(Desc::table(B));
        }
        for new in others {
            for bbm in BBM_LEVELS {
                assert_eq!(bbm_row(fresh, new, level, &Ctx { bbm, ..CTX }), Row::NotAccessed);
                assert_ne!(bbm_row(fresh, new, level, &Ctx { bbm, ..HW }), Row::NotAccessed);
            }
            let accessed = at_a(level, RW | PteFlags::USER);
            assert_ne!(bbm_row(accessed, new, level, &CTX), Row::NotAccessed);
        }
        let back = bbm_row(at_a(level, RW), fresh, level, &CTX);
        assert_eq!(back, Row::AccessFlag, "the other direction");
        let moved = bbm_row(fresh, at_b(level, RW), level, &HW);
        assert_eq!(moved, Row::MovedWritten, "hardware may have set AF meanwhile");
    }
    assert_eq!(
        bbm_row(Desc::table(A), Desc::table(B), Level::L2, &CTX),
        Row::TableDiffers,
        "tables have no AF"
    );
}

/// Row 4 (R_GPPYH): taking away needs the flush, and no more; the way back is row 1.
#[test]
fn row_04_to_what_faults() {
    for ctx in [CTX, EQUAL, HW] {
        for level in LEAVES {
            assert_eq!(rows(at_a(level, RW), Desc::INVALID, level, ctx), [Row::ToFault, Row::FromFault]);
        }
        for level in [Level::L0, Level::L1, Level::L2] {
            assert_eq!(rows(Desc::table(A), Desc::INVALID, level, ctx), [Row::ToFault, Row::FromFault]);
        }
        let page = at_a(Level::L3, RW);
        assert_eq!(bbm_row(page, block(RW), Level::L3, &ctx), Row::ToFault, "no blocks at level 3");
    }
}

/// Row 5 (R_GPPYH): rights in a table descriptor are permissions; the table itself stays.
#[test]
fn row_05_rights_of_a_table() {
    for ctx in [CTX, EQUAL, HW, HW_EQUAL] {
        for level in [Level::L0, Level::L1, Level::L2] {
            let table = Desc::table(A);
            for bit in 59..=62 {
                let restricted = flip(table, 1 << bit);
                assert_eq!(rows(table, restricted, level, ctx), [Row::TableRights; 2], "bit {bit}");
                let moved = flip(Desc::table(B), 1 << bit);
                assert_ne!(bbm_row(table, moved, level, &ctx), Row::TableRights, "another table as well");
            }
            assert_ne!(bbm_row(table, flip(table, NS_TABLE), level, &ctx), Row::TableRights, "NSTable");
        }
    }
}

/// Row 6 (R_WHZWS, 2nd bullet): hardware writes AF and dirty state through a stale table.
#[test]
fn row_06_table_written_by_hardware() {
    for level in [Level::L0, Level::L1, Level::L2] {
        for bbm in BBM_LEVELS {
            for ctx in [HW, HW_EQUAL] {
                let rows = rows(Desc::table(A), Desc::table(B), level, Ctx { bbm, ..ctx });
                assert_eq!(rows, [Row::TableWritten; 2]);
            }
        }
        assert_eq!(bbm_row(Desc::table(A), Desc::table(A), level, &HW), Row::NothingChanges);
    }
}

/// Rows 7 and 8 (R_WHZWS, 2nd bullet): another table, also in another address space, must hold the same descriptors.
#[test]
fn rows_07_and_08_other_table() {
    let table = Desc::table(A);
    for level in [Level::L0, Level::L1, Level::L2] {
        for other in [Desc::table(B), flip(table, NS_TABLE)] {
            for bbm in BBM_LEVELS {
                assert_eq!(rows(table, other, level, Ctx { bbm, ..CTX }), [Row::TableDiffers; 2]);
                assert_eq!(rows(table, other, level, Ctx { bbm, ..EQUAL }), [Row::TableAlike; 2]);
            }
        }
    }
}

/// Row 9 (R_PVTFW): no level relaxes a change of size that changes the translation as well, nT or not.
#[test]
fn row_09_resize_translating_differently() {
    for level in [Level::L1, Level::L2] {
        for bbm in BBM_LEVELS {
            for flags in [RW, RO, RW | PteFlags::NT, RO | PteFlags::CONTIGUOUS] {
                for ctx in [CTX, HW] {
                    let rows = rows(at_a(level, flags), Desc::table(B), level, Ctx { bbm, ..ctx });
                    assert_eq!(rows, [Row::ResizeDiffers; 2], "{bbm:?}");
                }
            }
        }
    }
}

/// Rows 10 and 12: a leaf and a table that translate alike replace each other at BBM 2 and 3 only, at level 1
/// as at level 2, nT or not.
#[test]
fn rows_10_and_12_resize_by_bbm_level() {
    for level in [Level::L1, Level::L2] {
        for ctx in [EQUAL, HW_EQUAL] {
            let rows = |bbm, flags| rows(at_a(level, flags), Desc::table(B), level, Ctx { bbm, ..ctx });
            assert_eq!(rows(BbmLevel::Level0, RW), [Row::Resize; 2]);
            assert_eq!(rows(BbmLevel::Level1, RW), [Row::Resize; 2]);
            for bbm in [BbmLevel::Level2, BbmLevel::Level3] {
                assert_eq!(rows(bbm, RW), [Row::ResizeDirect; 2]);
                assert_eq!(rows(bbm, RW | PteFlags::NT), [Row::ResizeDirect; 2]);
            }
        }
    }
}

/// Row 11 (R_MRRPW): at BBM 1 the leaf must have nT; at BBM 0 nT means nothing.
#[test]
fn row_11_resize_by_nt() {
    for level in [Level::L1, Level::L2] {
        let rows = |bbm| rows(at_a(level, RW | PteFlags::NT), Desc::table(B), level, Ctx { bbm, ..EQUAL });
        assert_eq!(rows(BbmLevel::Level1), [Row::ResizeNt; 2]);
        assert_eq!(rows(BbmLevel::Level0), [Row::Resize; 2]);
    }
}

/// Row 13 (R_WHZWS, 1st bullet): each attribute index and shareability bit, whatever else and whatever the level.
#[test]
fn row_13_memory_type() {
    for bit in [PteFlags::DEVICE, PteFlags::ATTR_1, PteFlags::ATTR_2, PteFlags::SH_0, PteFlags::SH_1] {
        for ctx in [CTX, EQUAL, HW_EQUAL] {
            both_everywhere(|level| [at_a(level, RO), at_a(level, RO ^ bit)], ctx, Row::MemoryType);
            both_everywhere(|level| [at_a(level, RO), at_b(level, RO ^ bit)], ctx, Row::MemoryType);
        }
    }
    both_everywhere(|level| [at_a(level, RO), at_a(level, RO ^ PteFlags::USER)], EQUAL, Row::Rights);
}

/// Row 14 (R_WHZWS, 2nd bullet): one side that grants write is enough, however equal the memory is.
#[test]
fn row_14_moved_and_written() {
    for ctx in [CTX, EQUAL] {
        for (a, b) in [(RW, RO), (RO, RW), (RW, RW)] {
            both_everywhere(|level| [at_a(level, a), at_b(level, b)], ctx, Row::MovedWritten);
        }
        both_everywhere(|level| [at_a(level, RW), flip(at_a(level, RW), NS)], ctx, Row::MovedWritten);
    }
    both_everywhere(|level| [at_a(level, RW), at_a(level, RO)], CTX, Row::Rights);
}

/// Row 14 again: DBM grants write exactly where hardware manages dirty state, clean or dirty.
#[test]
fn row_14_dirty_by_hardware() {
    let marked = RO | PteFlags::DBM;
    both_everywhere(|level| [at_a(level, marked), at_b(level, RO)], HW_EQUAL, Row::MovedWritten);
    both_everywhere(|level| [at_a(level, marked), at_b(level, RO)], EQUAL, Row::MovedAlike);
    both_everywhere(|level| [at_a(level, RO), at_b(level, RO)], HW_EQUAL, Row::MovedAlike);
    both_everywhere(|level| [at_a(level, marked), at_a(level, RW | PteFlags::DBM)], HW, Row::Rights);
}

/// Rows 15 and 20 (R_WHZWS, 2nd bullet): read-only to read-only is about the bytes, not about the access flag, and
/// the space is a part of the address (I_WZRHR).
#[test]
fn rows_15_and_20_moved_read_only() {
    both_everywhere(|level| [at_a(level, RO), at_b(level, RO)], CTX, Row::MovedDiffers);
    both_everywhere(|level| [at_a(level, RO), at_b(level, RO)], EQUAL, Row::MovedAlike);
    both_everywhere(|level| [at_a(level, RO), flip(at_a(level, RO), NS)], CTX, Row::MovedDiffers);
    both_everywhere(|level| [at_a(level, RO), at_b(level, RO | PteFlags::USER)], EQUAL, Row::MovedAlike);
    let old = at_a(Level::L3, RO);
    for bit in 12..48 {
        assert_eq!(rows(old, flip(old, 1 << bit), Level::L3, CTX), [Row::MovedDiffers; 2], "bit {bit}");
    }
    both_everywhere(|level| [at_a(level, RO), at_a(level, RO | PteFlags::USER)], CTX, Row::Rights);
}

/// Rows 16 and 18 (R_WHZWS, 3rd bullet; R_KHRBC): the contiguous bit alone, by FEAT_BBM level.
#[test]
fn rows_16_and_18_contiguous() {
    for level in LEAVES {
        for flags in [RW, RO, PteFlags::USER_RW] {
            for ctx in [CTX, EQUAL, HW] {
                let (plain, folded) = (at_a(level, flags), at_a(level, flags | PteFlags::CONTIGUOUS));
                let rows = |bbm| rows(plain, folded, level, Ctx { bbm, ..ctx });
                assert_eq!(rows(BbmLevel::Level0), [Row::Contiguous; 2]);
                for bbm in [BbmLevel::Level1, BbmLevel::Level2, BbmLevel::Level3] {
                    assert_eq!(rows(bbm), [Row::ContiguousAlone; 2]);
                }
            }
        }
    }
    assert_eq!(bbm_row(block(RW), block(RO), Level::L2, &CTX), Row::Rights, "a member that stays one");
    let folded = |flags| block(flags | PteFlags::CONTIGUOUS);
    assert_eq!(bbm_row(folded(RW), folded(RO), Level::L2, &CTX), Row::Rights);
}

/// Row 17 (R_PVTFW): the contiguous bit with anything beside it, named or not. Software's bits are nothing.
#[test]
fn row_17_contiguous_and_more() {
    for bbm in [BbmLevel::Level1, BbmLevel::Level2, BbmLevel::Level3] {
        let ctx = Ctx { bbm, ..EQUAL };
        for level in LEAVES {
            let plain = at_a(level, RO | PteFlags::NOT_GLOBAL);
            let folded = at_a(level, RO | PteFlags::NOT_GLOBAL | PteFlags::CONTIGUOUS);
            let beside = |bits| bbm_row(plain, flip(folded, bits), level, &ctx);
            for bit in [6, 7, 10, 11, 50, 51, 53, 54, 59, 63] {
                assert_eq!(beside(1 << bit), Row::ContiguousAndMore, "bit {bit}");
            }
            assert_eq!(beside(A.raw() ^ B.raw()), Row::ContiguousAndMore, "the address");
            assert_eq!(beside(0xf << 55), Row::ContiguousAlone);
            let without_the_bit = plain.with_flags(level, RO | PteFlags::NOT_GLOBAL | PteFlags::USER);
            assert_eq!(bbm_row(plain, without_the_bit, level, &ctx), Row::Rights);
        }
    }
}

/// Rows 19 and 21 (R_WHZWS, 4th bullet): the rule names one direction, with other rights or without.
#[test]
fn rows_19_and_21_global() {
    for level in LEAVES {
        for bbm in BBM_LEVELS {
            for ctx in [CTX, EQUAL, HW] {
                for rights in [RO, RO | PteFlags::USER] {
                    let rows = rows(
                        at_a(level, RO | PteFlags::NOT_GLOBAL),
                        at_a(level, rights),
                        level,
                        Ctx { bbm, ..ctx },
                    );
                    assert_eq!(rows, [Row::MadeGlobal, Row::MadePrivate]);
                }
            }
        }
        let moved = rows(at_a(level, RO | PteFlags::NOT_GLOBAL), at_b(level, RO), level, EQUAL);
        assert_eq!(moved, [Row::MadeGlobal, Row::MovedAlike]);
    }
}

/// Row 22 (R_GPPYH): each permission in either direction, alone and all together.
#[test]
fn row_22_rights() {
    for ctx in [CTX, EQUAL, HW] {
        for bit in RIGHTS.iter().chain([RIGHTS]) {
            both_everywhere(|level| [at_a(level, RW), at_a(level, RW ^ bit)], ctx, Row::Rights);
        }
    }
    both_everywhere(|level| [at_a(level, RW), at_b(level, RO)], EQUAL, Row::MovedWritten);
}

/// Row 23: nT set or cleared at any FEAT_BBM level, alone; beside something else that decides. In a page bit 16 is
/// part of the address.
#[test]
fn row_23_nt() {
    for level in [Level::L1, Level::L2] {
        for bbm in BBM_LEVELS {
            let ctx = Ctx { bbm, ..CTX };
            let with_nt = at_a(level, RW | PteFlags::NT);
            assert_eq!(rows(at_a(level, RW), with_nt, level, ctx), [Row::Nt; 2]);
            assert_eq!(rows(at_a(level, RO), with_nt, level, ctx), [Row::Rights; 2]);
            assert_eq!(rows(at_b(level, RW), with_nt, level, ctx), [Row::MovedWritten; 2]);
            let device = at_a(level, RW ^ PteFlags::DEVICE);
            assert_eq!(rows(device, with_nt, level, ctx), [Row::MemoryType; 2]);
            let folded = at_a(level, RW | PteFlags::CONTIGUOUS);
            assert_ne!(rows(folded, with_nt, level, ctx).map(Row::need), [BbmNeed::FlushAfter; 2]);
        }
    }
    for bbm in BBM_LEVELS {
        let ctx = Ctx { bbm, ..CTX };
        let (page, next) = (at_a(Level::L3, RW), flip(at_a(Level::L3, RW), 1 << 16));
        assert_eq!(rows(page, next, Level::L3, ctx), [Row::MovedWritten; 2]);
        let (table, next) = (Desc::table(A), flip(Desc::table(A), 1 << 16));
        assert_eq!(rows(table, next, Level::L2, ctx), [Row::TableDiffers; 2]);
    }
}

/// Row 24 (R_GPPYH): AF cleared needs its flush; AF set is row 3, and this row where hardware may have set it.
#[test]
fn row_24_access_flag() {
    for level in LEAVES {
        let (set, clear) = (at_a(level, RW), at_a(level, RW - PteFlags::ACCESSED));
        assert_eq!(rows(set, clear, level, CTX), [Row::AccessFlag, Row::NotAccessed]);
        assert_eq!(rows(set, clear, level, HW), [Row::AccessFlag; 2]);
    }
}

/// Row 25: reserved bits and those of features that are not used may be held, so their change is flushed.
#[test]
fn row_25_reserved() {
    for ctx in [CTX, HW_EQUAL] {
        for bit in [48, 49, 50, 59, 60, 61, 62, 63] {
            both_everywhere(|level| [at_a(level, RW), flip(at_a(level, RW), 1 << bit)], ctx, Row::Reserved);
        }
        for bit in [12, 15, 17, 20] {
            assert_eq!(
                rows(block(RW), flip(block(RW), 1 << bit), Level::L2, ctx),
                [Row::Reserved; 2],
                "{bit}"
            );
        }
    }
}

/// A refusal is a sentence with its bullet.
#[test]
fn needs_are_sentences() {
    let need = bbm_need(block(RW), at_b(Level::L2, RW), Level::L2, &CTX);
    assert_eq!(
        need.to_string(),
        "break-before-make is needed: the output address changes while one side grants write (R_WHZWS, \
         second bullet)"
    );
}
