//! `vma-pt`: one counter in the head, plus one for each pair of a VMA and a page table that map any part of the folio.
//!
//! ```text
//!   table      [ p p p p p p p p | p p p . . ]      two VMAs share the table: the folio counts two
//!                VMA a             VMA b
//! ```
//! Proposed in January 2023: with one number a folio can be asked whether somebody maps it, and nearly whether one or
//! several do, and a fault that maps a whole range counts once. Nothing but tables knows how many entries there are.
//!
//! **Cost.** Before a run is counted its neighbours in the table are looked at, to see whether the pair is counted
//! already: cheap where the neighbour maps the folio too, up to 511 descriptors where nothing near does. A folio of
//! 1 GiB that is mapped by pages counts 512 for one process.
//!
//! **VMAs change.** Where one is cut, a pair becomes two for each folio with entries on both sides of the cut in one
//! table, and where two are joined two become one ([`boundary`]). The counts change under T, in the same critical
//! section of the lock under which walks from the folio look VMAs up.
#![forbid(unsafe_code)]

use arch::addr::{ENTRIES_PER_TABLE, PAGE_SIZE};
use arch::{Level, Machine, PhysAddr, PhysMem, VirtAddr};

use super::neighbours::{Line, has_others};
use super::rfc_v1::RfcV1Counted;
use super::single::room;
use super::{Answer, Claim, Contract, CountFull, MapcountScheme, Place, Remains, Run, Sharing};
use crate::config::TailEncoding;
use crate::page::PageRef;
use crate::pgtable::normal_page;

/// The scheme; it has no state of its own.
#[derive(Clone, Copy, Debug)]
pub struct VmaPt;

/// Whether the run is the only one of its VMA in its table that maps the folio.
fn is_pair(run: &Run) -> bool {
    run.is_whole() || !has_others(run, run.vma)
}

impl MapcountScheme for VmaPt {
    const PLACE: Place = Place::Counts;
    const CONTRACT: Contract =
        [Claim::Exact, Claim::Bound, Claim::Bound, Claim::Bound, Claim::Bound, Claim::Estimate];

    fn add(run: &Run) {
        if is_pair(run) {
            run.head.add_raw_mapcount(1);
        }
    }

    fn remove(run: &Run) -> Remains {
        if !is_pair(run) {
            return Remains::Part;
        }
        super::rfc_v1::remains(run.head.sub_raw_mapcount(1) - 1)
    }

    /// One pair becomes another, but where a folio of 1 GiB was mapped by more than this block of the old table.
    fn split(block: &Run, table: PhysAddr) {
        if !block.is_whole() {
            Self::add(&block.pieces(table));
            Self::remove(block);
        }
    }

    /// One pair becomes another, but where a folio of 1 GiB is mapped by more than this block of the new table.
    fn join(pieces: &Run, block: &Run) {
        if !block.is_whole() {
            Self::add(block);
            Self::remove(pieces);
        }
    }

    fn may_add(run: &Run) -> Result<(), CountFull> {
        room(run.head.raw_mapcount(), 1)
    }

    fn is_mapped(head: PageRef) -> bool {
        head.raw_mapcount() != 0
    }

    /// No more than a table has, or the folio, for each pair.
    fn entries(head: PageRef) -> Answer<u32> {
        match head.raw_mapcount() {
            0 => Answer::Exact(0),
            pairs => {
                let each = head.order().pages().min(ENTRIES_PER_TABLE as u64);
                Answer::AtMost(u32::try_from(u64::from(pairs).saturating_mul(each)).unwrap_or(u32::MAX))
            }
        }
    }

    /// A pair maps a page once or not at all.
    fn page_entries(head: PageRef, page: PageRef) -> Answer<u32> {
        RfcV1Counted::page_entries(head, page)
    }

    fn pages_mapped(head: PageRef) -> Answer<u32> {
        RfcV1Counted::pages_mapped(head)
    }

    /// Exact for no pair and for one: one VMA is one space's.
    fn sharing(head: PageRef) -> Answer<Sharing> {
        RfcV1Counted::sharing(head)
    }

    /// As if each pair mapped all of the folio.
    fn average(head: PageRef) -> u32 {
        head.raw_mapcount()
    }
}

/// Calls `f` with each folio that has entries in the level-3 table at `table`, in line with one another, on both sides
/// of the address `at`, inside `vma`, which is the union of both sides. Under T, or the table is nobody else's.
pub fn boundary(
    table: PhysAddr,
    at: VirtAddr,
    vma: (VirtAddr, VirtAddr),
    tails: TailEncoding,
    mut f: impl FnMut(PageRef),
) {
    let cut = at.index(Level::L3);
    let first = cut.saturating_sub((at.offset_from(vma.0) / PAGE_SIZE) as usize);
    let mut last = None;
    for n in first..cut {
        let desc = Machine::read_desc(table.add(8 * n as u64));
        let Some(page) = normal_page(desc, Level::L3) else { continue };
        let head = page.head(tails);
        // One past the entry that would map the folio's last page.
        let end = n as u64 + head.order().pages() - page.pfn().offset_from(head.pfn());
        if !head.is_folio() || end <= cut as u64 || last == Some((head, end)) {
            continue;
        }
        last = Some((head, end));
        let va = VirtAddr::new(at.raw() - (cut - n) as u64 * PAGE_SIZE);
        let line = Line { head, page, at: n, va, table, level: Level::L3 };
        if !line.is_mapped_in((vma.0, va)) && line.is_mapped_in((at, vma.1)) {
            f(head);
        }
    }
}
