//! Taking a folio out of all tables, and putting it, or another in its place, back.
//!
//! ```text
//!   leaf -> migration entry     under T: store, count, flush, drop the entry's reference
//!   migration entry -> leaf     under T: store, take a reference, count
//! ```
//! A folded group goes as one, and 16 migration entries that can be one become one ([`crate::pgtable::fold`]).
//!
//! Between the two nobody can reach the folio by an address: its mappings are 0, and its references are those of the
//! caller and of whoever holds it without mapping it.
#![forbid(unsafe_code)]

use core::ops::{ControlFlow, Range};

use arch::contiguous::CONT_ENTRIES;
use arch::{Level, Machine, PhysMem, VirtAddr};

use super::runs::{Change, Runs};
use super::walk::{Origin, Place};
use crate::Mm;
use crate::hugetlb::hgm::{NotSplit, split_to_page};
use crate::mapcount::Run;
use crate::page::PageRef;
use crate::pgtable::fold::may_begin_group;
use crate::pgtable::{PtRoot, TableStock};
use crate::space::range::{leaf_for, run_of, top_above};
use crate::thp::popmap::Popmap;
use crate::thp::split::split_block;

/// What is left where a leaf was.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Leave {
    Nothing,
    Migration,
    /// A poison marker.
    Marker,
}

/// Replaces every leaf that maps a part of the folio by a migration entry. The caller holds a reference.
pub(super) fn unmap_to_move(mm: &Mm, origin: &Origin) {
    origin.for_each_place(mm, |place| {
        unmap_place(mm, origin, place, &mut place.space.ptl.lock(), Leave::Migration);
    });
}

/// As [`unmap_to_move`], where each page will be mapped by itself: blocks are split first, with tables of `stock`.
/// Breaks where that has none left; what was replaced by then is to be put back.
pub(super) fn unmap_to_split(mm: &Mm, origin: &Origin, stock: &mut TableStock<'_>) -> ControlFlow<()> {
    origin.visit(mm, |place| {
        let mut tree = place.space.ptl.lock();
        let step = tree.walk(place.part.start).last();
        if step.level == Level::L2
            && origin.mapped_by(step).is_some()
            && split_block(mm, place.space, &place.vma, &mut tree, place.part.start, stock).is_err()
        {
            return ControlFlow::Break(());
        }
        unmap_place(mm, origin, place, &mut tree, Leave::Migration);
        ControlFlow::Continue(())
    })
}

/// Replaces every leaf that maps a part of the folio by a marker. The caller holds a reference.
pub(super) fn unmap_to_mark(mm: &Mm, origin: &Origin) {
    origin.for_each_place(mm, |place| {
        unmap_place(mm, origin, place, &mut place.space.ptl.lock(), Leave::Marker);
    });
}

/// Clears every leaf that maps a part of the folio, in all spaces (Linux: `try_to_unmap`). What was anonymous memory is
/// zeros to its spaces afterwards: that is for memory that has failed, and for what has another home. The caller holds
/// a reference, and no lock of rank 30 or above. A fault may map what has another home again at once.
pub fn unmap_folio(mm: &Mm, head: PageRef) {
    let origin = Origin::of(head);
    origin.for_each_place(mm, |place| {
        unmap_place(mm, &origin, place, &mut place.space.ptl.lock(), Leave::Nothing);
    });
}

/// Clears every leaf of a place that maps a part of the folio; or those of `page` alone, if what maps it can be split,
/// with tables of the stock.
pub(super) fn unmap_folio_page(
    mm: &Mm,
    origin: &Origin,
    place: &Place<'_>,
    page: Option<(Range<VirtAddr>, &mut TableStock<'_>)>,
) {
    let mut tree = place.space.ptl.lock();
    let mut part = place.part.clone();
    if let Some((page, stock)) = page {
        match split_to_page(mm, place.space, &place.vma, &mut tree, page.start, stock) {
            Ok(()) => part = page,
            Err(NotSplit::NoLeaf) => return,
            Err(NotSplit::NoTable | NotSplit::Full(_)) => {}
        }
    }
    let place = Place { space: place.space, vma: place.vma, part };
    unmap_place(mm, origin, &place, &mut tree, Leave::Nothing);
}

/// One place. The flush is done when this returns, so before T is let go.
fn unmap_place(mm: &Mm, origin: &Origin, place: &Place<'_>, tree: &mut PtRoot, leave: Leave) {
    let flusher = place.space.flusher(mm);
    mm.gather(place.space.tag(), |gather| {
        let mut runs = Runs::new(mm, place.space, Change::Zapped);
        place.scan(tree, |tree, va, step| {
            let Some(n) = origin.mapped_by(step) else { return };
            let top = top_above(tree, origin.head, step.level, va);
            let Ok(entry) = tree.entry(flusher, va, step.level) else { return };
            let run = run_of(place.space, &place.vma, &entry, origin.head.nth(n));
            let group = entry.begins_group(place.part.end);
            let entries = if group { CONT_ENTRIES as u32 } else { 1 };
            runs.push(Run { head: origin.head, entries, top: top.unwrap_or(run.top), ..run });
            let unmapped = match (leave, group) {
                (Leave::Nothing, false) => entry.clear(gather),
                (Leave::Nothing, true) => entry.clear_group(gather),
                (Leave::Migration, false) => entry.begin_migration(gather),
                (Leave::Migration, true) => entry.begin_group_migration(gather),
                (Leave::Marker, false) => entry.poison(gather),
                (Leave::Marker, true) => entry.poison_group(gather),
            };
            gather.hold(unmapped);
        });
        runs.finish();
    });
}

/// Where the pages of a folio are now that was taken out of the tables.
#[derive(Clone, Copy, Debug)]
pub(super) enum Now<'z> {
    /// In the folio with this head, or where it was: page for page.
    Folio(PageRef),
    /// Where they were, single pages now; but of these the page of zeros is to be mapped in their place, read-only.
    Singles(&'z Popmap),
}

/// Makes each migration entry that remembers a page of the folio a leaf for where that page is now. Whoever made one of
/// them go, or more of them come, meanwhile, did the right thing. The caller holds a reference to each target.
pub(super) fn remap(mm: &Mm, origin: &Origin, now: Now<'_>) {
    origin.for_each_place(mm, |place| {
        let flusher = place.space.flusher(mm);
        let mut runs = Runs::new(mm, place.space, Change::Made);
        let mut tree = place.space.ptl.lock();
        place.scan(&mut tree, |tree, va, step| {
            let (Some(n), Some(moved)) = (origin.remembered_by(step), step.migration()) else { return };
            let top = top_above(tree, origin.head, step.level, va);
            let Ok(entry) = tree.entry(flusher, va, step.level) else { return };
            let (head, page) = match now {
                Now::Folio(head) => (head, head.nth(n)),
                Now::Singles(zeros) if zeros.contains(n as usize) => {
                    let zero = mm.zero_page.pfn().phys();
                    return entry.end_migration(leaf_for(mm, zero, step.level, place.vma.prot));
                }
                Now::Singles(_) => (origin.head.nth(n), origin.head.nth(n)),
            };
            debug_assert!(head == page || head.order().bytes() >= step.level.entry_bytes());
            let leaf = moved.at(page.pfn().phys()).leaf(step.level);
            let whole = match now {
                Now::Folio(_) => true,
                Now::Singles(zeros) => zeros.is_clear(n as usize, CONT_ENTRIES),
            };
            let group =
                whole && may_begin_group(mm, head, leaf, step.level) && entry.awaits_group(place.part.end);
            let entries = if group { CONT_ENTRIES as u32 } else { 1 };
            if leaf.user_exec() {
                let bytes = u64::from(entries) * step.level.entry_bytes();
                Machine::sync_icache(page.pfn().phys(), bytes);
            }
            let run = run_of(place.space, &place.vma, &entry, page);
            runs.push(Run { head, entries, top: top.unwrap_or(run.top), ..run });
            match group {
                true => entry.end_group_migration(leaf),
                false => entry.end_migration(leaf),
            }
        });
        runs.finish();
    });
}
