//! One block becomes 512 page entries: before a part of it is unmapped or gets other rights.
//!
//! ```text
//!   L2 entry   [ block 2 MiB ]   -- break, flush, make -->   [ table ] -> 512 entries, same rights, same pages
//!   folio      head + 511 tails     stays one: 512 references and 512 entries instead of one
//! ```
//! The folio stays whole: nothing of it is freed before all of it is unmapped.
//!
//! The entries are folded by 16 ([`crate::pgtable::fold`]), for nothing: nobody can reach the table yet.
//!
//! A block of zeros becomes 512 entries of the page of zeros.
//!
//! The entry is broken and made at every FEAT_BBM level. The window is short, and a fault in it waits for T.
#![forbid(unsafe_code)]

use core::ops::Range;

use arch::addr::{ENTRIES_PER_TABLE, PAGE_SIZE};
use arch::contiguous::{CONT_ENTRIES, group_of};
use arch::pte::{Kind, Migration};
use arch::{Desc, Level, PageSize, Pfn, VirtAddr};

use crate::Mm;
use crate::config::Contpte;
use crate::error::OutOfMemory;
use crate::mapcount;
use crate::page::page_of;
use crate::pgtable::{Entry, LooseTable, PtRoot, TableStock};
use crate::space::{AddressSpace, Vma, range};
use crate::stats::Counter;
use crate::trace::Point;

/// Why nothing was split.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NotSplit {
    /// No block of level 2 translates the address, or will when it has moved.
    NoBlock,
    /// The stock has no table.
    NoTable,
    /// The folio has so many references that 511 more might wrap the count.
    TooManyReferences(Pfn),
}

/// Makes sure that no block of anonymous memory lies across `va`, so that entries on either side can change alone.
/// The caller holds M for writing, so none comes back; no spinlock.
///
/// # Errors
/// [`OutOfMemory`]: no table could be had, or the folio has too many references (Linux: ENOMEM for both); nothing has
/// changed.
pub fn split_at(mm: &Mm, space: &AddressSpace, va: VirtAddr) -> Result<(), OutOfMemory> {
    if va.is_aligned(PageSize::Size2M.bytes()) {
        return Ok(());
    }
    split_inside(mm, space, va)
}

/// Makes sure that `va` is not translated by a block of anonymous memory, so that its pages can change one by one. The
/// caller holds M for writing, so none comes back; no spinlock.
///
/// # Errors
/// [`OutOfMemory`]: no table could be had, and nothing has changed.
pub fn split_inside(mm: &Mm, space: &AddressSpace, va: VirtAddr) -> Result<(), OutOfMemory> {
    if !has_block(space, va) {
        return Ok(());
    }
    let Some(vma) = space.vma_at(va) else { return Ok(()) };
    let mut stock = TableStock::new(mm, 1)?;
    match split_block(mm, space, &vma, &mut space.ptl.lock(), va, &mut stock) {
        Ok(()) | Err(NotSplit::NoBlock) => Ok(()),
        Err(NotSplit::NoTable | NotSplit::TooManyReferences(_)) => Err(OutOfMemory),
    }
}

fn has_block(space: &AddressSpace, va: VirtAddr) -> bool {
    let walk = space.ptl.lock().walk(va);
    let last = walk.last();
    last.level == Level::L2 && (last.kind() == Kind::Block || last.migration().is_some())
}

/// Splits the block around `va`, which lies in `vma`, with a table of `stock`. `tree` is the space's, under T.
///
/// # Errors
/// [`NotSplit`]; nothing has changed.
pub fn split_block(
    mm: &Mm,
    space: &AddressSpace,
    vma: &Vma,
    tree: &mut PtRoot,
    va: VirtAddr,
    stock: &mut TableStock<'_>,
) -> Result<(), NotSplit> {
    let entry = tree.entry(space.flusher(mm), va, Level::L2).map_err(|_| NotSplit::NoBlock)?;
    let block = entry.desc();
    if let Some(migration) = entry.migration() {
        return split_migration(entry, migration, stock);
    }
    if block.kind(Level::L2) != Kind::Block {
        return Err(NotSplit::NoBlock);
    }
    let mut table = stock.take().ok_or(NotSplit::NoTable)?;
    if mm.huge_zero.is_at(block.output(Level::L2)) {
        let page = Desc::leaf(mm.zero_page.pfn().phys(), Level::L3, block.flags(Level::L2));
        table.fill(|_| page);
        let link = table.link();
        entry.break_live::<1>(|_, _| ()).flush().make(|_| link, |_, _| ()).keep();
        return Ok(());
    }
    let head = page_of(block.output(Level::L2).pfn());
    let run = range::run_of(space, vma, &entry, head);
    // The block's reference becomes one for each page entry.
    let may_add = mapcount::may_add(mm, &run.pieces(table.address())).is_ok();
    if !may_add || !head.try_get_many(ENTRIES_PER_TABLE as u32 - 1) {
        mm.free_table(table);
        return Err(NotSplit::TooManyReferences(head.pfn()));
    }
    fill_table(mm, &mut table, block, va);
    mapcount::split(mm, &run, table.address());
    let link = table.link();
    entry.break_live::<1>(|_, _| ()).flush().make(|_| link, |_, _| ()).keep();
    mm.stats.note(Point::SplitBlock, 1, || [va.raw(), head.pfn().raw(), 0, 0]);
    mm.stats.sub(Counter::NrAnonThp, 1);
    Ok(())
}

/// A block that is moving: each of its pages gets a migration entry of its own. No TLB holds anything of it.
fn split_migration(entry: Entry<'_>, block: Migration, stock: &mut TableStock<'_>) -> Result<(), NotSplit> {
    let mut table = stock.take().ok_or(NotSplit::NoTable)?;
    table.fill(|n| Desc::migration(block.output.add(n as u64 * PAGE_SIZE), Level::L3, block.flags));
    entry.end_migration(table.link());
    Ok(())
}

/// Page entries for all of a block: folded groups, as a block is aligned and one folio, but for that of `va`, of which
/// a part is about to change.
fn fill_table(mm: &Mm, table: &mut LooseTable, block: Desc, va: VirtAddr) {
    let (start, flags) = (block.output(Level::L2), block.flags(Level::L2));
    let leaf = Desc::leaf(start, Level::L3, flags);
    if mm.config.contpte == Contpte::Off {
        return fill_row(table, leaf, 0..ENTRIES_PER_TABLE);
    }
    let plain = group_of(va.index(Level::L3));
    fill_row(table, leaf.in_group(), 0..plain.start);
    fill_row(table, leaf, plain.clone());
    fill_row(table, leaf.in_group(), plain.end..ENTRIES_PER_TABLE);
    mm.stats.note(Point::Fold, (ENTRIES_PER_TABLE / CONT_ENTRIES - 1) as u64, || [va.raw(), 0, 0, 0]);
}

/// Writes a row of entries that go on from each other; `first` is, or would be, entry 0. A block is aligned, so nothing
/// is carried from addresses into attributes.
fn fill_row(table: &mut LooseTable, first: Desc, row: Range<usize>) {
    let mut entries = table.entries();
    for n in row.start..row.end.min(ENTRIES_PER_TABLE) {
        entries.write(n, Desc::from_raw(first.raw().wrapping_add(n as u64 * PAGE_SIZE)));
    }
}
