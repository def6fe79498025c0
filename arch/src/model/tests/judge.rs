//! Which descriptor stores the judge lets pass, and the sentence with which it refuses the others.

use super::super::{run_on_cpus, try_kernel_access, user_store};
use super::*;
use crate::addr::ENTRIES_PER_TABLE;
use crate::contract::{Depth, Tag};
use crate::features::{BbmLevel, Features};

const DESC: MachineDesc = MachineDesc::DEFAULT;
const RW: PteFlags = PteFlags::KERNEL_RW;
const RO: PteFlags = PteFlags::KERNEL_RO;

/// A machine of this FEAT_BBM level.
fn with_bbm(bbm: BbmLevel) -> MachineDesc {
    MachineDesc { features: Features { bbm, ..DESC.features }, ..DESC }
}

/// Everything for one address, on every vCPU.
fn flush_all_levels(va: VirtAddr) {
    flush(Tlbi::Va { va, tag: Tag::AllAsids, depth: Depth::AllLevels, level: None }, FlushScope::Broadcast);
}

/// A table of 512 pages that maps `pa` onwards, linked nowhere.
fn split_table(tables: &mut Tables, pa: PhysAddr, flags: PteFlags) -> PhysAddr {
    let table = tables.next;
    tables.next = table.add(PAGE_SIZE);
    for n in 0..ENTRIES_PER_TABLE as u64 {
        Machine::write_desc(table.add(8 * n), Desc::leaf(pa.add(n * PAGE_SIZE), Level::L3, flags));
    }
    table
}

/// A live writable page may not move in one store.
#[test]
#[should_panic(expected = "the output address changes while one side grants write (R_WHZWS, second bullet)")]
fn writable_page_moved() {
    with_tables(DESC, |mut tables| {
        tables.map(KVA, PAGE_A, Level::L3, RW);
        tables.map(KVA, PAGE_B, Level::L3, RW);
    });
}

/// The whole sentence: who, what over what, where, for which address, why.
#[test]
#[should_panic(
    expected = "model: vCPU 0 stores 0x0060000042000703 over 0x0060000041000703 at 0x0000000040004000, level 3, \
                for 0xffff900000200000: break-before-make is needed: the output address changes while one side \
                grants write (R_WHZWS, second bullet)"
)]
fn the_sentence() {
    with_tables(DESC, |mut tables| {
        tables.map(KVA, PAGE_A, Level::L3, RW);
        tables.map(KVA, PAGE_B, Level::L3, RW);
    });
}

/// With a break and a completed flush the page may move.
#[test]
fn writable_page_moved_by_break_before_make() {
    with_tables(DESC, |mut tables| {
        let at = tables.map(KVA, PAGE_A, Level::L3, RW);
        assert_eq!(read(KVA), Ok(PAGE_A));
        Machine::write_desc(at, Desc::INVALID);
        flush_all_levels(KVA);
        tables.map(KVA, PAGE_B, Level::L3, RW);
        assert_eq!(read(KVA), Ok(PAGE_B));
    });
}

/// A break whose flush was forgotten is found at the make, by what is still held.
#[test]
#[should_panic(expected = "while vCPU 0 may still hold 0x0060000041000703 of level 3: break-before-make")]
fn break_without_flush() {
    with_tables(DESC, |mut tables| {
        let at = tables.map(KVA, PAGE_A, Level::L3, RW);
        assert_eq!(read(KVA), Ok(PAGE_A));
        Machine::write_desc(at, Desc::INVALID);
        Machine::dsb(Dsb::Ish);
        tables.map(KVA, PAGE_B, Level::L3, RW);
    });
}

/// A local flush where another vCPU holds the entry is found at the make.
#[test]
#[should_panic(expected = "while vCPU 1 may still hold")]
fn break_with_a_local_flush() {
    with_tables(DESC, |mut tables| {
        let at = tables.map(KVA, PAGE_A, Level::L3, RW);
        run_on_cpus(vec![Box::new(|| ()), Box::new(|| assert_eq!(read(KVA), Ok(PAGE_A)))]);
        Machine::write_desc(at, Desc::INVALID);
        flush(Tlbi::All, FlushScope::Local);
        tables.map(KVA, PAGE_B, Level::L3, RW);
    });
}

/// Read-only to read-only: equal bytes may be swapped in at once, other bytes may not.
#[test]
fn read_only_repoint_to_equal_bytes() {
    with_tables(DESC, |mut tables| {
        Machine::write_bytes(PAGE_A, &[7; 4096]);
        Machine::copy(PAGE_B, PAGE_A, PAGE_SIZE);
        tables.map(KVA, PAGE_A, Level::L3, RO);
        assert_eq!(read(KVA), Ok(PAGE_A));
        tables.map(KVA, PAGE_B, Level::L3, RO);
    });
}

/// One byte that differs is enough.
#[test]
#[should_panic(expected = "the output address changes and the contents differ (R_WHZWS, second bullet)")]
fn read_only_repoint_to_other_bytes() {
    with_tables(DESC, |mut tables| {
        tables.map(KVA, PAGE_A, Level::L3, RO);
        Machine::write_bytes(PAGE_B.add(4095), &[1]);
        tables.map(KVA, PAGE_B, Level::L3, RO);
    });
}

/// Read-only in memory is not enough while a vCPU may still hold the writable entry.
#[test]
#[should_panic(
    expected = "may still hold 0x0060000041000703 of level 3: break-before-make is needed: the output address \
                changes while one side grants write"
)]
fn repoint_before_the_write_permission_was_flushed() {
    with_tables(DESC, |mut tables| {
        tables.map(KVA, PAGE_A, Level::L3, RW);
        assert_eq!(read(KVA), Ok(PAGE_A));
        tables.map(KVA, PAGE_A, Level::L3, RO);
        tables.map(KVA, PAGE_B, Level::L3, RO);
    });
}

/// A block may give way to an equal table at BBM 2 and 3 directly.
#[test]
fn split_at_bbm_2() {
    for bbm in [BbmLevel::Level2, BbmLevel::Level3] {
        with_tables(with_bbm(bbm), |mut tables| {
            let at = tables.map(KVA, PAGE_A, Level::L2, RW);
            assert_eq!(read(KVA), Ok(PAGE_A));
            let table = split_table(&mut tables, PAGE_A, RW);
            Machine::write_desc(at, Desc::table(table));
            flush_all_levels(KVA);
            assert_eq!(read(KVA.add(PAGE_SIZE)), Ok(PAGE_A.add(PAGE_SIZE)));
        });
    }
}

/// Below BBM 2 it may not.
#[test]
#[should_panic(expected = "block, table or contiguous size changes (R_WHZWS, third bullet)")]
fn split_at_bbm_1() {
    with_tables(with_bbm(BbmLevel::Level1), |mut tables| {
        let at = tables.map(KVA, PAGE_A, Level::L2, RW);
        let table = split_table(&mut tables, PAGE_A, RW);
        Machine::write_desc(at, Desc::table(table));
    });
}

/// At BBM 1 a block with nT may, once no vCPU holds it without nT.
#[test]
fn split_at_bbm_1_with_nt() {
    with_tables(with_bbm(BbmLevel::Level1), |mut tables| {
        let at = tables.map(KVA, PAGE_A, Level::L2, RW);
        assert_eq!(read(KVA), Ok(PAGE_A));
        Machine::write_desc(at, Desc::leaf(PAGE_A, Level::L2, RW | PteFlags::NT));
        flush_all_levels(KVA);
        let table = split_table(&mut tables, PAGE_A, RW);
        Machine::write_desc(at, Desc::table(table));
        assert_eq!(read(KVA), Ok(PAGE_A));
    });
}

/// BBM 2 relaxes size alone: a table with other rights needs the break.
#[test]
#[should_panic(expected = "block, table or contiguous size changes (R_WHZWS, third bullet)")]
fn split_with_other_rights_at_bbm_2() {
    with_tables(with_bbm(BbmLevel::Level2), |mut tables| {
        let at = tables.map(KVA, PAGE_A, Level::L2, RW);
        let table = split_table(&mut tables, PAGE_A, RO);
        Machine::write_desc(at, Desc::table(table));
    });
}

/// One page that leads elsewhere makes the table another translation.
#[test]
#[should_panic(expected = "block, table or contiguous size changes (R_WHZWS, third bullet)")]
fn merge_of_an_unequal_table_at_bbm_2() {
    with_tables(with_bbm(BbmLevel::Level2), |mut tables| {
        let at = tables.at(KVA, Level::L2);
        let table = split_table(&mut tables, PAGE_A, RW);
        Machine::write_desc(table.add(8 * 511), Desc::leaf(PAGE_B, Level::L3, RW));
        Machine::write_desc(at, Desc::table(table));
        Machine::write_desc(at, Desc::leaf(PAGE_A, Level::L2, RW));
    });
}

/// A block over a table that was broken, but whose pages are still held, is refused below BBM 2.
#[test]
#[should_panic(expected = "of level 3: break-before-make is needed: block, table or contiguous size changes")]
fn merge_while_pages_are_held() {
    with_tables(DESC, |mut tables| {
        let at = tables.at(KVA, Level::L2);
        let table = split_table(&mut tables, PAGE_A, RW);
        Machine::write_desc(at, Desc::table(table));
        Machine::dsb(Dsb::Ish);
        Machine::isb();
        let last = KVA.add(511 * PAGE_SIZE);
        assert_eq!(read(last), Ok(PAGE_A.add(511 * PAGE_SIZE)));
        Machine::write_desc(at, Desc::INVALID);
        flush_all_levels(KVA);
        Machine::write_desc(at, Desc::leaf(PAGE_A, Level::L2, RW));
    });
}

/// At BBM 1 a block may cover pages that are still held if it has nT, and only then.
#[test]
fn merge_at_bbm_1_with_nt() {
    with_tables(with_bbm(BbmLevel::Level1), |mut tables| {
        let at = merge_with_held_pages(&mut tables, RW | PteFlags::NT);
        flush(Tlbi::All, FlushScope::Broadcast);
        Machine::write_desc(at, Desc::leaf(PAGE_A, Level::L2, RW));
    });
}

/// Without nT it may not.
#[test]
#[should_panic(expected = "of level 3: break-before-make is needed: block, table or contiguous size changes")]
fn merge_at_bbm_1_without_nt() {
    with_tables(with_bbm(BbmLevel::Level1), |mut tables| {
        merge_with_held_pages(&mut tables, RW);
    });
}

/// Links a table of pages, uses one, takes the table out without flushing the pages, and makes a block.
fn merge_with_held_pages(tables: &mut Tables, block: PteFlags) -> PhysAddr {
    let at = tables.at(KVA, Level::L2);
    let table = split_table(tables, PAGE_A, RW);
    Machine::write_desc(at, Desc::table(table));
    Machine::dsb(Dsb::Ish);
    Machine::isb();
    assert_eq!(read(KVA.add(PAGE_SIZE)), Ok(PAGE_A.add(PAGE_SIZE)));
    Machine::write_desc(at, Desc::INVALID);
    flush_all_levels(KVA);
    Machine::write_desc(at, Desc::leaf(PAGE_A, Level::L2, block));
    at
}

/// A global page over what any ASID may still hold as its own is refused.
#[test]
#[should_panic(expected = "a global entry replaces a non-global one (R_WHZWS, fourth bullet)")]
fn global_over_a_held_private_page() {
    with_tables(DESC, |mut tables| {
        tables.map(UVA, PAGE_A, Level::L3, PteFlags::USER_RO);
        assert_eq!(Machine::translate(UVA, Access::Read, Privilege::User), Ok(PAGE_A));
        tables.user = TABLES.add(0x80000);
        Machine::set_user_root(Some((tables.user, Asid::new(2))));
        tables.map(UVA, PAGE_A, Level::L3, PteFlags::USER_RO.difference(PteFlags::NOT_GLOBAL));
    });
}

/// Pages that another ASID holds at the same addresses do not matter to a block.
#[test]
fn another_space_does_not_matter() {
    with_tables(DESC, |mut tables| {
        tables.map(UVA, PAGE_A, Level::L3, PteFlags::USER_RW);
        let read = || Machine::translate(UVA, Access::Read, Privilege::User);
        assert_eq!(read(), Ok(PAGE_A));
        tables.user = TABLES.add(0x80000);
        Machine::set_user_root(Some((tables.user, Asid::new(2))));
        tables.map(UVA, PAGE_B, Level::L2, PteFlags::USER_RW);
        assert_eq!(read(), Ok(PAGE_B));
    });
}

/// Stores into a table that is linked nowhere are nobody's business.
#[test]
fn unlinked_tables_are_free() {
    with_tables(DESC, |mut tables| {
        let table = split_table(&mut tables, PAGE_A, RW);
        Machine::write_desc(table, Desc::leaf(PAGE_B, Level::L3, RW));
        Machine::zero(table, PAGE_SIZE);
    });
}

/// A table that was taken out and flushed may be used for anything.
#[test]
fn a_flushed_table_may_be_reused() {
    with_tables(DESC, |mut tables| {
        let leaf = tables.map(KVA, PAGE_A, Level::L3, RW);
        assert_eq!(read(KVA), Ok(PAGE_A));
        let parent = tables.at(KVA, Level::L2);
        Machine::write_desc(parent, Desc::INVALID);
        flush_all_levels(KVA);
        Machine::zero(leaf.align_down(PAGE_SIZE), PAGE_SIZE);
    });
}

/// A table that was taken out and is still held may not be zeroed.
#[test]
#[should_panic(
    expected = "model: vCPU 0 writes to 0x0000000040004000, a table of level 3 for 0xffff900000200000 that can \
                still be walked"
)]
fn a_held_table_may_not_be_zeroed() {
    with_tables(DESC, |mut tables| {
        let leaf = tables.map(KVA, PAGE_A, Level::L3, RW);
        assert_eq!(read(KVA), Ok(PAGE_A));
        let parent = tables.at(KVA, Level::L2);
        Machine::write_desc(parent, Desc::INVALID);
        Machine::zero(leaf.align_down(PAGE_SIZE), PAGE_SIZE);
    });
}

/// The tables of a root that no vCPU has installed and of which nothing is held are free as well.
#[test]
fn a_retired_root_is_free() {
    with_tables(DESC, |mut tables| {
        let leaf = tables.map(UVA, PAGE_A, Level::L3, PteFlags::USER_RW);
        assert_eq!(user_store(UVA, 5), Ok(()));
        Machine::set_user_root(None);
        flush(Tlbi::Asid(Asid::new(1)), FlushScope::Broadcast);
        Machine::write_desc(leaf, Desc::leaf(PAGE_B, Level::L3, PteFlags::USER_RW));
        Machine::zero(leaf.align_down(PAGE_SIZE), PAGE_SIZE);
        Machine::zero(tables.user, PAGE_SIZE);
    });
}

/// A kernel store that lands in a live table by a stray mapping is refused.
#[test]
#[should_panic(expected = "a table of level 0 for 0xffff000000000000 that can still be walked")]
fn stray_kernel_store() {
    with_tables(DESC, |mut tables| {
        tables.map(KVA, tables.kernel, Level::L3, RW);
        assert!(try_kernel_access(KVA, Access::Read).is_ok());
        Machine::kernel_access(KVA, Access::Write);
    });
}

/// So is a user's, for example through a page that was freed, reused as a table and never flushed.
#[test]
#[should_panic(expected = "a table of level 0 for 0x0000000000000000 that can still be walked")]
fn stray_user_store() {
    with_tables(DESC, |mut tables| {
        tables.map(UVA, tables.user, Level::L3, PteFlags::USER_RW);
        let _refused = user_store(UVA, 0);
    });
}
