//! A huge page at the first write, and the block of zeros at the first read: `thp=always`, MADV_HUGEPAGE with
//! `thp=madvise`, and a threshold of 1.
#![forbid(unsafe_code)]

use arch::pte::Kind;
use arch::{Level, Machine, Order, PhysMem, VirtAddr};

use super::record::Key;
use crate::Mm;
use crate::error::OutOfMemory;
use crate::mapcount;
use crate::page::{FolioRef, PageKind, PageRef};
use crate::pgtable::TableStock;
use crate::rmap::deferred;
use crate::space::{AddressSpace, HugeAdvice, Vma, range};
use crate::stats::Counter;
use crate::trace::Point;

/// What came of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum HugeFault {
    /// The block is in place.
    Made,
    /// Another thread made a block meanwhile, or the tables have changed: the access is to be tried again.
    Spurious,
}

/// Why the fault must be resolved by a small page. Nothing was mapped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NoHugePage {
    /// No block of 2 MiB is free, or no table.
    Memory,
    /// The range has a table of pages already.
    Table,
}

/// Maps a zeroed huge page at the range of `va`, with the rights of `vma`. The policy answered
/// [`super::Backing::Huge`]. So many tables were missing above the block when the caller looked. The caller holds M for
/// reading and no spinlock.
///
/// # Errors
/// [`NoHugePage`].
pub fn huge_fault(
    mm: &Mm,
    space: &AddressSpace,
    vma: &Vma,
    va: VirtAddr,
    missing: usize,
) -> Result<HugeFault, NoHugePage> {
    let key = Key::new(space, va);
    let mut stock = TableStock::new(mm, missing).map_err(|error| no_memory(mm, error))?;
    let head = alloc_huge(mm, vma, key)?;
    let made = make_block(mm, space, vma, key, head.page(), &mut stock);
    match made {
        // The reference is the entry's.
        Ok(HugeFault::Made) => head.leave(),
        Ok(HugeFault::Spurious) | Err(_) => mm.free_pages(head, Order::PMD),
    }
    made
}

/// Maps the block of zeros at the range of `va`, read-only. The policy answered [`super::Backing::HugeZero`]. As for
/// [`huge_fault`].
///
/// # Errors
/// [`NoHugePage`].
pub fn zero_fault(
    mm: &Mm,
    space: &AddressSpace,
    vma: &Vma,
    va: VirtAddr,
    missing: usize,
) -> Result<HugeFault, NoHugePage> {
    let zeros = mm.huge_zero.get(mm).map_err(|error| no_memory(mm, error))?;
    let block = Key::new(space, va).range;
    let mut stock = TableStock::new(mm, missing).map_err(|error| no_memory(mm, error))?;
    let mut tree = space.ptl.lock();
    match tree.entry_or_table(space.flusher(mm), block, Level::L2, &mut stock) {
        Ok(entry) if entry.desc().is_empty() => {
            entry.make(range::leaf_for(mm, zeros.phys(), Level::L2, vma.prot));
            Ok(HugeFault::Made)
        }
        Ok(entry) if entry.desc().kind(Level::L2) == Kind::Table => Err(NoHugePage::Table),
        // A block, or a table that was there has left meanwhile.
        Ok(_) | Err(_) => Ok(HugeFault::Spurious),
    }
}

/// The fault goes on with a small page.
fn no_memory(mm: &Mm, _: OutOfMemory) -> NoHugePage {
    mm.stats.note(Point::HugeFallback, 1, || [0; 4]);
    NoHugePage::Memory
}

/// A folio of 2 MiB, zeroed, with one reference, for the range in `vma`. Memory is compacted for it only where
/// MADV_HUGEPAGE says that it is worth that (Linux: `madvise`, the default of `defrag`).
fn alloc_huge(mm: &Mm, vma: &Vma, key: Key) -> Result<FolioRef, NoHugePage> {
    let head = match vma.advice {
        HugeAdvice::Huge => mm.alloc_pages(Order::PMD, PageKind::Anon).ok(),
        _ => mm.alloc_free_block(Order::PMD, PageKind::Anon),
    };
    let head = head.ok_or_else(|| no_memory(mm, OutOfMemory))?;
    Machine::zero(head.pfn().phys(), Order::PMD.bytes());
    head.prep_compound(PageKind::Anon, Order::PMD, mm.config.tails);
    head.set_mapping(key.space, vma.index_of(key.range));
    Ok(head)
}

fn make_block(
    mm: &Mm,
    space: &AddressSpace,
    vma: &Vma,
    key: Key,
    head: PageRef,
    stock: &mut TableStock<'_>,
) -> Result<HugeFault, NoHugePage> {
    let mut tree = space.ptl.lock();
    let entry = match tree.entry_or_table(space.flusher(mm), key.range, Level::L2, stock) {
        Ok(entry) => entry,
        // A block, or a table that was there has left meanwhile.
        Err(_) => return Ok(HugeFault::Spurious),
    };
    let old = entry.desc();
    match old.kind(Level::L2) {
        Kind::Invalid if old.is_empty() => {}
        Kind::Block if mm.huge_zero.is_at(old.output(Level::L2)) => {}
        // A block, made meanwhile, that is moving already.
        Kind::Invalid => return Ok(HugeFault::Spurious),
        Kind::Table => return Err(NoHugePage::Table),
        Kind::Block | Kind::Page => return Ok(HugeFault::Spurious),
    }
    let run = range::run_of(space, vma, &entry, head);
    let new = range::leaf_for(mm, head.pfn().phys(), Level::L2, vma.prot);
    if old.is_valid() {
        // Nobody counts the entries that map zeros.
        entry.break_live::<1>(|_, _| ()).flush().make(|_| new, |_, _| ()).keep();
    } else {
        entry.make(new);
    }
    mapcount::add(mm, &run);
    space.add_anon(mm, Order::PMD.pages());
    mm.stats.inc(Counter::NrAnonThp);
    mm.stats.note(Point::HugeFault, 1, || [key.range.raw(), head.pfn().raw(), 0, 0]);
    deferred::offer(mm, head);
    Ok(HugeFault::Made)
}
