//! Blocks, tables and contiguous groups, and the ways from one to the other.

use super::*;
use crate::contiguous::{CONT_ENTRIES, check_group, group_bytes};
use crate::contract::Dsb;
use crate::features::BbmLevel;

pub(super) fn block(arena: &mut Arena<'_>) -> Result<(), Failure> {
    let (huge, offset) = huge_page(arena)?;
    let va = arena.window();
    arena.map(va, huge, Level::L2, RO)?;
    expect("the first byte", kernel(va, Access::Read), Ok(huge))?;
    let last = Level::L2.entry_bytes() - 1;
    expect("the last byte", kernel(va.add(last), Access::Read), Ok(huge.add(last)))?;
    expect("a write", kernel(va, Access::Write), Err(FaultStatus::Permission(Level::L2)))?;
    expect_value("a load", load(va.add(offset)), PATTERN)
}

pub(super) fn split(arena: &mut Arena<'_>) -> Result<(), Failure> {
    let (huge, offset) = huge_page(arena)?;
    let va = arena.window();
    let at = arena.map(va, huge, Level::L2, RO)?;
    expect_value("a load before", load(va.add(offset)), PATTERN)?;
    let table = arena.page_table(huge, RO)?;
    change(at, Desc::INVALID, va);
    expect("broken", kernel(va, Access::Read), Err(FaultStatus::Translation(Level::L2)))?;
    arena.make(at, Desc::table(table), Level::L2)?;
    expect("a page", kernel(va.add(offset), Access::Read), Ok(huge.add(offset)))?;
    expect("a write", kernel(va, Access::Write), Err(FaultStatus::Permission(Level::L3)))?;
    expect_value("a load after", load(va.add(offset)), PATTERN)
}

pub(super) fn merge(arena: &mut Arena<'_>) -> Result<(), Failure> {
    let (huge, offset) = huge_page(arena)?;
    let (va, table) = (arena.window(), arena.page_table(huge, RO)?);
    let at = arena.entry(Machine::kernel_root(), va, Level::L2)?;
    arena.make(at, Desc::table(table), Level::L2)?;
    expect_value("a load before", load(va.add(offset)), PATTERN)?;
    Machine::write_desc(at, Desc::INVALID);
    flush(all_levels_of_block(va), FlushScope::Broadcast);
    expect("broken", kernel(va, Access::Read), Err(FaultStatus::Translation(Level::L2)))?;
    arena.make(at, Desc::leaf(huge, Level::L2, RO), Level::L2)?;
    expect("a write", kernel(va, Access::Write), Err(FaultStatus::Permission(Level::L2)))?;
    expect_value("a load after", load(va.add(offset)), PATTERN)
}

/// Everything that a level-2 entry leads to, tables too.
fn all_levels_of_block(start: VirtAddr) -> Tlbi {
    let pages = Level::L2.entry_bytes() / PAGE_SIZE;
    Tlbi::Range { start, pages, tag: Tag::AllAsids, depth: Depth::AllLevels, level: None }
}

/// Replaces a live level-2 entry by one that translates alike, and flushes; the page in the middle is there before and
/// after, and at BBM 3 also between, where lower levels may give a conflict abort (I_HYQMB).
fn resize(at: PhysAddr, new: Desc, va: VirtAddr, page: (PhysAddr, u64)) -> Result<(), Failure> {
    let (huge, offset) = page;
    expect_value("a load before", load(va.add(offset)), PATTERN)?;
    Machine::write_desc(at, new);
    Machine::dsb(Dsb::IshSt);
    Machine::isb();
    if Machine::features().bbm == BbmLevel::Level3 {
        expect_value("a load before the flush", load(va.add(offset)), PATTERN)?;
    }
    flush(all_levels_of_block(va), FlushScope::Broadcast);
    expect("after", kernel(va.add(offset), Access::Read), Ok(huge.add(offset)))
}

pub(super) fn resize_directly(arena: &mut Arena<'_>) -> Result<(), Failure> {
    if Machine::features().bbm < BbmLevel::Level2 {
        return Ok(());
    }
    let page = huge_page(arena)?;
    let (va, block) = (arena.window(), Desc::leaf(page.0, Level::L2, RO));
    let table = Desc::table(arena.page_table(page.0, RO)?);
    let at = arena.map(va, page.0, Level::L2, RO)?;
    for new in [table, block, table] {
        resize(at, new, va, page)?;
    }
    Ok(())
}

pub(super) fn resize_by_nt(arena: &mut Arena<'_>) -> Result<(), Failure> {
    if Machine::features().bbm != BbmLevel::Level1 {
        return Ok(());
    }
    let page = huge_page(arena)?;
    let (va, block) = (arena.window(), Desc::leaf(page.0, Level::L2, RO));
    let marked = Desc::leaf(page.0, Level::L2, RO | PteFlags::NT);
    let table = Desc::table(arena.page_table(page.0, RO)?);
    let at = arena.map(va, page.0, Level::L2, RO)?;
    for new in [marked, table, marked, block] {
        // With nT an access may take a translation fault until the flush, so none is made here.
        Machine::write_desc(at, new);
        flush(all_levels_of_block(va), FlushScope::Broadcast);
        if new != marked {
            expect_value("a load", load(va.add(page.1)), PATTERN)?;
        }
    }
    Ok(())
}

/// The pages of a contiguous group in RAM around a page of the arena, by place, and that page's place.
fn group(arena: &mut Arena<'_>) -> Result<(PhysAddr, usize), Failure> {
    let page = arena.page()?;
    set_word(page, PATTERN);
    let base = page.align_down(group_bytes(Level::L3));
    Ok((base, (page.offset_from(base) / PAGE_SIZE) as usize))
}

/// The first descriptor of the group at `va`, which maps the 16 pages from `base` with `flags`.
fn map_group(
    arena: &mut Arena<'_>,
    va: VirtAddr,
    base: PhysAddr,
    flags: PteFlags,
) -> Result<PhysAddr, Failure> {
    let first = arena.entry(Machine::kernel_root(), va, Level::L3)?;
    for n in 0..CONT_ENTRIES as u64 {
        arena.make(first.add(8 * n), Desc::leaf(base.add(n * PAGE_SIZE), Level::L3, flags), Level::L3)?;
    }
    Ok(first)
}

/// The descriptors at `first` keep the promise of the contiguous bit; each page of the group is where it should be, and
/// cannot be written; page `marked` has the pattern.
fn expect_group(first: PhysAddr, va: VirtAddr, base: PhysAddr, marked: usize) -> Result<(), Failure> {
    let descs = core::array::from_fn(|n| Machine::read_desc(first.add(8 * n as u64)));
    expect_that("the group keeps its promise", check_group(&descs, Level::L3).ok())?;
    let at = |n: usize| n as u64 * PAGE_SIZE;
    for n in 0..CONT_ENTRIES {
        expect("a page of the group", kernel(va.add(at(n)), Access::Read), Ok(base.add(at(n))))?;
    }
    let denied = Err(FaultStatus::Permission(Level::L3));
    expect("a write to the group", kernel(va.add(at(3)), Access::Write), denied)?;
    expect_value("a load", load(va.add(at(marked))), PATTERN)
}

/// Every page of the group at `start`.
fn flush_group(start: VirtAddr) {
    let (pages, level) = (CONT_ENTRIES as u64, Some(Level::L3));
    let op = Tlbi::Range { start, pages, tag: Tag::AllAsids, depth: Depth::LeafOnly, level };
    flush(op, FlushScope::Broadcast);
}

pub(super) fn contiguous(arena: &mut Arena<'_>) -> Result<(), Failure> {
    let (base, marked) = group(arena)?;
    let va = arena.window().add(group_bytes(Level::L3));
    let first = map_group(arena, va, base, RO | PteFlags::CONTIGUOUS)?;
    expect_group(first, va, base, marked)?;
    for n in 0..CONT_ENTRIES as u64 {
        Machine::write_desc(first.add(8 * n), Desc::INVALID);
    }
    flush_group(va);
    for n in 0..CONT_ENTRIES as u64 {
        expect("a page of the broken group", kernel(va.add(n * PAGE_SIZE), Access::Read), GONE)?;
    }
    map_group(arena, va, base, RO)?;
    expect_group(first, va, base, marked)
}

pub(super) fn fold_directly(arena: &mut Arena<'_>) -> Result<(), Failure> {
    if Machine::features().bbm < BbmLevel::Level1 {
        return Ok(());
    }
    let (base, marked) = group(arena)?;
    let va = arena.window();
    let first = map_group(arena, va, base, RO)?;
    for flags in [RO | PteFlags::CONTIGUOUS, RO] {
        for n in 0..CONT_ENTRIES as u64 {
            Machine::write_desc(first.add(8 * n), Desc::leaf(base.add(n * PAGE_SIZE), Level::L3, flags));
        }
        flush_group(va);
        expect_group(first, va, base, marked)?;
    }
    Ok(())
}
