//! Every TLBI of the contract: what it names is gone once it is complete.

use super::*;
use crate::contract::MAX_RANGE_PAGES;

/// Calls `f` with every TLBI by address and range of `level` leaves that must remove a leaf at `va` with one of
/// `tags`: each depth, with the hint and without, alone, first, and last of a range.
fn each_naming(
    va: VirtAddr,
    level: Level,
    tags: &[Tag],
    mut f: impl FnMut(Tlbi) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let leaf_pages = level.entry_bytes() / PAGE_SIZE;
    for &tag in tags {
        for depth in [Depth::LeafOnly, Depth::AllLevels] {
            for level in [None, Some(level)] {
                f(Tlbi::Va { va, tag, depth, level })?;
                for (before, leaves) in [(0, 1), (0, 2), (1, 2), (0, 33), (32, 33), (20, 600)] {
                    let start = VirtAddr::new(va.raw() - before * leaf_pages * PAGE_SIZE);
                    let pages = leaves * leaf_pages;
                    f(Tlbi::Range { start, pages, tag, depth, level })?;
                }
            }
        }
    }
    Ok(())
}

/// Maps and uses the page or block at `va`, takes it away, flushes by `op`: it must be gone.
fn gone_after(
    arena: &mut Arena<'_>,
    (at, va): (PhysAddr, VirtAddr),
    (leaf, level): (Desc, Level),
    (op, scope): (Tlbi, FlushScope),
) -> Result<(), Failure> {
    arena.make(at, leaf, level)?;
    expect("before", kernel(va, Access::Read), Ok(leaf.output(level)))?;
    Machine::write_desc(at, Desc::INVALID);
    flush(op, scope);
    expect("after the flush", kernel(va, Access::Read), Err(FaultStatus::Translation(level)))
}

fn page_gone(arena: &mut Arena<'_>, scope: FlushScope) -> Result<(), Failure> {
    let (va, page) = (arena.window().add(40 * PAGE_SIZE), arena.page()?);
    let at = arena.entry(Machine::kernel_root(), va, Level::L3)?;
    let leaf = (Desc::leaf(page, Level::L3, RW), Level::L3);
    // Entries of the kernel's half are global: a flush of any ASID names them.
    let tags = [Tag::AllAsids, Tag::Asid(arena.asids()[0])];
    each_naming(va, Level::L3, &tags, |op| gone_after(arena, (at, va), leaf, (op, scope)))?;
    gone_after(arena, (at, va), leaf, (Tlbi::All, scope))
}

pub(super) fn broadcast(arena: &mut Arena<'_>) -> Result<(), Failure> {
    page_gone(arena, FlushScope::Broadcast)
}

pub(super) fn local(arena: &mut Arena<'_>) -> Result<(), Failure> {
    page_gone(arena, FlushScope::Local)
}

pub(super) fn blocks(arena: &mut Arena<'_>) -> Result<(), Failure> {
    let (huge, _) = huge_page(arena)?;
    let va = arena.window().add(Level::L2.entry_bytes());
    let at = arena.entry(Machine::kernel_root(), va, Level::L2)?;
    let leaf = (Desc::leaf(huge, Level::L2, RO), Level::L2);
    each_naming(va, Level::L2, &[Tag::AllAsids], |op| {
        gone_after(arena, (at, va), leaf, (op, FlushScope::Broadcast))
    })?;
    let inside = Tlbi::Range {
        start: va.add(7 * PAGE_SIZE),
        pages: 3,
        tag: Tag::AllAsids,
        depth: Depth::LeafOnly,
        level: None,
    };
    gone_after(arena, (at, va), leaf, (inside, FlushScope::Broadcast))
}

pub(super) fn user_page(arena: &mut Arena<'_>) -> Result<(), Failure> {
    let page = arena.page()?;
    let (root, at) = arena.user(page, PteFlags::USER_RW)?;
    let asid = arena.asids()[1];
    Machine::set_user_root(Some((root, asid)));
    Machine::write_desc(at, Desc::INVALID);
    flush(Tlbi::Asid(asid), FlushScope::Broadcast);
    let mut gone_after = |op| {
        arena.make(at, Desc::leaf(page, Level::L3, PteFlags::USER_RW), Level::L3)?;
        expect("before", user(USER_VA, Access::Read), Ok(page))?;
        Machine::write_desc(at, Desc::INVALID);
        flush(op, FlushScope::Broadcast);
        expect("after the flush", user(USER_VA, Access::Read), GONE)
    };
    each_naming(USER_VA, Level::L3, &[Tag::Asid(asid), Tag::AllAsids], &mut gone_after)?;
    [Tlbi::Asid(asid), Tlbi::All].into_iter().try_for_each(gone_after)
}

pub(super) fn tables(arena: &mut Arena<'_>) -> Result<(), Failure> {
    let (va, page) = (arena.window(), arena.page()?);
    arena.map(va, page, Level::L3, RW)?;
    let parent = arena.entry(Machine::kernel_root(), va, Level::L2)?;
    let table = Machine::read_desc(parent);
    let never_used = va.add(PAGE_SIZE);
    let pages = Level::L2.entry_bytes() / PAGE_SIZE;
    let (tag, depth, level) = (Tag::AllAsids, Depth::AllLevels, None);
    let range = |pages| Tlbi::Range { start: va, pages, tag, depth, level };
    for op in [Tlbi::Va { va, tag, depth, level }, range(1), range(pages), range(MAX_RANGE_PAGES), Tlbi::All]
    {
        expect("the page", kernel(va, Access::Read), Ok(page))?;
        Machine::write_desc(parent, Desc::INVALID);
        flush(op, FlushScope::Broadcast);
        for va in [va, never_used] {
            expect("below the table", kernel(va, Access::Read), Err(FaultStatus::Translation(Level::L2)))?;
        }
        arena.make(parent, table, Level::L2)?;
    }
    Ok(())
}

pub(super) fn range(arena: &mut Arena<'_>) -> Result<(), Failure> {
    // 33 pages: more than one range operand says, with an odd page left.
    const PAGES: u64 = 33;
    let (va, page) = (arena.window().add(7 * PAGE_SIZE), arena.page()?);
    let first = arena.entry(Machine::kernel_root(), va, Level::L3)?;
    for n in 0..PAGES {
        arena.make(first.add(8 * n), Desc::leaf(page, Level::L3, RO), Level::L3)?;
        expect("a page", kernel(va.add(n * PAGE_SIZE), Access::Read), Ok(page))?;
    }
    for n in 0..PAGES {
        Machine::write_desc(first.add(8 * n), Desc::INVALID);
    }
    let level = Some(Level::L3);
    let op = Tlbi::Range { start: va, pages: PAGES, tag: Tag::AllAsids, depth: Depth::LeafOnly, level };
    flush(op, FlushScope::Broadcast);
    (0..PAGES).try_for_each(|n| {
        let gone = Err(FaultStatus::Translation(Level::L3));
        expect("a page after the flush", kernel(va.add(n * PAGE_SIZE), Access::Read), gone)
    })
}
