//! One block becomes 512 page entries: before a part of it is unmapped or gets other rights.
//!
//! ```text
//!   L2 entry   [ block 2 MiB ]   -- break, flush, make -->   [ table ] -> 512 pages, same rights
//!   folio      head + 511 tails  -- dissolve ------------>   512 single pages, one reference each
//! ```
//! The folio is dissolved at once, so that each page can be freed by itself. Only a folio to which somebody has
//! one more reference at this moment (a walker over pfns that has just tried its luck) cannot be: it stays one folio,
//! with one reference and one mapping for each of the 512 entries, and is freed when the last of them is gone.
//!
//! The entry is broken and made at every FEAT_BBM level. The window is short, and a fault in it waits for T.
#![forbid(unsafe_code)]

use arch::addr::PAGE_SIZE;
use arch::pte::{Kind, Migration};
use arch::{Desc, Level, Order, PageSize, VirtAddr};

use super::popmap::PAGES;
use crate::Mm;
use crate::error::OutOfMemory;
use crate::mapcount;
use crate::page::{PageKind, PageRef, page_of};
use crate::pgtable::{Entry, LooseTable, PtRoot, TableStock};
use crate::space::AddressSpace;
use crate::stats::Counter;

/// Why nothing was split.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NotSplit {
    /// No block of level 2 translates the address, or will when it has moved.
    NoBlock,
    /// The stock has no table.
    NoTable,
}

/// Makes sure that no block of anonymous memory lies across `va`, so that entries on either side can change alone.
/// The caller holds M for writing, so none comes back; no spinlock.
///
/// # Errors
/// [`OutOfMemory`]: no table could be had, and nothing has changed.
pub fn split_at(mm: &Mm, space: &AddressSpace, va: VirtAddr) -> Result<(), OutOfMemory> {
    if va.is_aligned(PageSize::Size2M.bytes()) || !has_block(space, va) {
        return Ok(());
    }
    let mut stock = TableStock::new(mm, 1)?;
    match split_block(mm, space, &mut space.ptl.lock(), va, &mut stock) {
        Ok(()) | Err(NotSplit::NoBlock) => Ok(()),
        Err(NotSplit::NoTable) => Err(OutOfMemory),
    }
}

fn has_block(space: &AddressSpace, va: VirtAddr) -> bool {
    let walk = space.ptl.lock().walk(va);
    let last = walk.last();
    last.level == Level::L2 && (last.kind() == Kind::Block || last.migration().is_some())
}

/// Splits the block around `va` with a table of `stock`. `tree` is the space's, under T.
///
/// # Errors
/// [`NotSplit`]; nothing has changed.
pub fn split_block(
    mm: &Mm,
    space: &AddressSpace,
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
    fill_table(&mut table, block);
    split_folio(mm, page_of(block.output(Level::L2).pfn()));
    let link = table.link();
    // The block's reference has become one for each page entry.
    entry.break_live::<1>(|_, _| ()).flush().make(|_| link, |_, _| ()).keep();
    mm.stats.inc(Counter::ThpSplitPmd);
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

/// Page entries for all of a block.
fn fill_table(table: &mut LooseTable, block: Desc) {
    let (start, flags) = (block.output(Level::L2), block.flags(Level::L2));
    table.fill(|n| Desc::leaf(start.add(n as u64 * PAGE_SIZE), Level::L3, flags));
}

/// One mapping and one reference for each page, in single pages if nobody else uses the folio. Under T.
fn split_folio(mm: &Mm, head: PageRef) {
    let others = PAGES as u32 - 1;
    if !head.freeze(1) {
        mapcount::add(mm, head, others);
        // The page entries have them.
        (0..others).for_each(|_| head.get().leave());
        return;
    }
    let (space, index) = (head.mapping(), head.index());
    mapcount::remove(mm, head, 1);
    head.dissolve(PageKind::Anon);
    for n in 0..Order::PMD.pages() {
        let page = head.nth(n);
        page.set_mapping(space, index + n);
        mapcount::add(mm, page, 1);
    }
}
