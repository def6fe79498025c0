//! A huge page at the first fault: `thp=always`, MADV_HUGEPAGE with `thp=madvise`, and a threshold of 1.
#![forbid(unsafe_code)]

use arch::pte::Kind;
use arch::{Level, Machine, Order, PhysMem, VirtAddr};

use super::record::Key;
use crate::Mm;
use crate::mapcount;
use crate::page::{FolioRef, PageKind, PageRef};
use crate::pgtable::{Missing, TableStock};
use crate::space::{AddressSpace, Vma, range};
use crate::stats::Counter;

/// What came of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum HugeFault {
    /// The block is in place.
    Made,
    /// Another thread made a block meanwhile.
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
/// [`super::Backing::Huge`]. The caller holds M for reading and no spinlock.
///
/// # Errors
/// [`NoHugePage`].
pub fn huge_fault(mm: &Mm, space: &AddressSpace, vma: &Vma, va: VirtAddr) -> Result<HugeFault, NoHugePage> {
    let key = Key::new(space, va);
    let mut stock = TableStock::new(mm, 2).map_err(|_| NoHugePage::Memory)?;
    let head = alloc_huge(mm, key, vma.index_of(key.range))?;
    let made = make_block(mm, space, vma, key, head.page(), &mut stock);
    match made {
        // The reference is the entry's.
        Ok(HugeFault::Made) => head.leave(),
        Ok(HugeFault::Spurious) | Err(_) => mm.free_pages(head, Order::PMD),
    }
    made
}

/// A folio of 2 MiB, zeroed, with one reference, whose first page has this linear index.
fn alloc_huge(mm: &Mm, key: Key, index: u64) -> Result<FolioRef, NoHugePage> {
    let head = mm.alloc_pages(Order::PMD, PageKind::Anon).map_err(|_| NoHugePage::Memory)?;
    Machine::zero(head.pfn().phys(), Order::PMD.bytes());
    head.prep_compound(PageKind::Anon, Order::PMD, mm.config.tails);
    head.set_mapping(key.space, index);
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
        Err(Missing::Leaf(..)) => return Ok(HugeFault::Spurious),
        Err(Missing::Table(_) | Missing::Stock) => return Err(NoHugePage::Memory),
    };
    match entry.desc().kind(Level::L2) {
        Kind::Invalid if entry.desc().is_empty() => {}
        // A block, made meanwhile, that is moving already.
        Kind::Invalid => return Ok(HugeFault::Spurious),
        Kind::Table => return Err(NoHugePage::Table),
        Kind::Block | Kind::Page => return Ok(HugeFault::Spurious),
    }
    let run = range::run_of(space, vma, &entry, head);
    entry.make(range::leaf_for(mm, head.pfn().phys(), Level::L2, vma.prot));
    mapcount::add(mm, &run);
    mm.stats.add(Counter::NrAnon, Order::PMD.pages());
    mm.stats.inc(Counter::NrAnonThp);
    mm.stats.inc(Counter::ThpFaultAlloc);
    Ok(HugeFault::Made)
}
