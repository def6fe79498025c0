//! What a range maps is given up.
//!
//! ```text
//!   all of a level-3 table, of one VMA   the table leaves the tree with what it holds, one flush, then page by page
//!   anything less, and blocks            entries are cleared; the gather flushes, and gives up what they held
//! ```
#![forbid(unsafe_code)]

use arch::addr::{ENTRIES_PER_TABLE, PAGE_SIZE};
use arch::layout::USER_END;
use arch::{Desc, Level, Order, PhysAddr, VirtAddr};

use super::range::{assert_whole, giant_top, run_of, scan, table_bytes};
use super::{AddressSpace, Vma};
use crate::Mm;
use crate::buddy::SingleBatch;
use crate::mapcount::{self, Run};
use crate::page::{PageKind, PageRef, page_of};
use crate::pgtable::walk::is_empty;
use crate::pgtable::{Gather, Severed, Stretch, Unmapped, WalkStep, normal_folio, normal_page};
use crate::rmap;
use crate::stats::Counter;

/// Unmaps every leaf of `[start, end)` and frees the tables that become empty. M is held for writing, no
/// block is cut by the range, and its reservations are released. Everything goes through one gather.
pub(super) fn unmap(mm: &Mm, space: &AddressSpace, start: VirtAddr, end: VirtAddr) {
    mm.gather(space.tag(), |gather| {
        let mut vma = space.first_vma_in(start, end);
        while let Some(this) = vma {
            let (from, to) = (this.start.max(start), this.end.min(end));
            let next = space.first_vma_in(this.end, end);
            // A table that the next VMA has a share in is looked at when that is done.
            let goes_on = next.is_some_and(|next| same_table(next.start, to));
            let last = if goes_on { USER_END } else { to };
            // Where the whole space goes, tables hold what later VMAs have, and nothing else.
            let whole = start.raw() == 0 && end == USER_END;
            let rest = whole.then(|| next.map_or(VirtAddr::new(u64::MAX), |next| next.start));
            scan(mm, space, from, to, |stretch| {
                assert_whole(stretch, from, to);
                let walk = *stretch.walk();
                let mut tables = walk.steps();
                if let Some(severed) = stretch.sever(gather) {
                    give_up(mm, space, &this, severed);
                    tables = &tables[..tables.len() - 1];
                } else {
                    clear(mm, space, &this, stretch, (gather, Counted::Removed), |_| true);
                }
                prune(mm, space, stretch, tables, (last, rest), gather);
            });
            vma = next;
        }
    });
}

/// Unmaps the leaves of `part`, a part of a VMA, whose folio is `wanted`, and entries that are to map it when it has
/// moved; markers, if `None`, no folio, is wanted. Tables stay. The caller has not M, but knows that the space has its
/// tables yet: whatever else happens to the VMA happens to each leaf under T.
///
/// What is cleared is flushed before T is let go: without M nothing keeps a fault from making an entry in its place,
/// which nobody may meet beside the old one.
pub(crate) fn unmap_if(mm: &Mm, space: &AddressSpace, part: &Vma, wanted: impl Fn(Option<PageRef>) -> bool) {
    scan(mm, space, part.start, part.end, |stretch| {
        let level = stretch.level();
        mm.gather(space.tag(), |gather| {
            clear(mm, space, part, stretch, (gather, Counted::Zapped), |desc| {
                match desc.as_migration(level) {
                    Some(moving) => wanted(Some(page_of(moving.output.pfn()).head(mm.config.tails))),
                    None if desc.is_poisoned() => wanted(None),
                    None => normal_folio(mm, desc, level).is_some_and(|head| wanted(Some(head))),
                }
            });
        });
    });
}

/// How mappings are taken off the counts.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Counted {
    /// By who has M, so that the tables may go with the entries.
    Removed,
    /// By who came from the pages, and leaves the tables ([`mapcount::zap`]).
    Zapped,
}

/// Clears the entries of a stretch, a part of `vma`, that hold something which is `wanted`.
pub(crate) fn clear<'g>(
    mm: &Mm,
    space: &AddressSpace,
    vma: &Vma,
    stretch: &mut Stretch<'_>,
    (gather, counted): (&mut Gather<'g>, Counted),
    wanted: impl FnMut(Desc) -> bool,
) {
    let Some(page) = stretch.descs().find_map(|desc| normal_page(desc, stretch.level())) else {
        return stretch.clear(gather, wanted, |_, unmapped, gather| gather.hold(unmapped));
    };
    let giant = giant_top(stretch.walk().steps());
    let mut run = run_of(space, vma, &stretch.entry(0), page);
    let (first, bytes) = (run.va, run.level.entry_bytes());
    let mut anon = 0;
    stretch.clear(gather, wanted, |n, unmapped, gather| {
        run.va = first.add(n as u64 * bytes);
        anon += release(mm, (&mut run, giant), unmapped, (gather, counted));
    });
    if anon != 0 {
        space.sub_anon(mm, anon);
        if run.level == Level::L2 {
            mm.stats.sub(Counter::NrAnonThp, anon / (bytes / PAGE_SIZE));
        }
    }
}

/// What a run of entries held goes: its counts and its references. `run` is of the entries' table and begins with the
/// first; `giant` is the level-2 table above or of it. Returns how many anonymous pages they mapped.
fn release<'g>(
    mm: &Mm,
    (run, giant): (&mut Run, Option<PhysAddr>),
    mut unmapped: Unmapped<'g>,
    (gather, counted): (&mut Gather<'g>, Counted),
) -> u64 {
    let (bytes, mut anon) = (run.level.entry_bytes(), 0);
    while unmapped.entries() != 0 {
        let Some(page) = normal_page(unmapped.desc(), run.level) else {
            // Consecutive entries of the same attributes: all are special.
            gather.hold(unmapped);
            break;
        };
        let head = page.head(mm.config.tails);
        let left = head.order().bytes() - page.pfn().offset_from(head.pfn()) * PAGE_SIZE;
        (run.head, run.first) = (head, page);
        run.top = giant.filter(|_| head.order() == Order::PUD).unwrap_or(run.table);
        run.entries = u64::from(unmapped.entries()).min(left / bytes) as u32;
        anon += uncount(mm, run, counted);
        run.va = run.va.add(u64::from(run.entries) * bytes);
        gather.hold(unmapped.take(run.entries));
    }
    anon
}

/// Gives up what the entries of a table hold, all of them of `vma`, and the table.
pub(crate) fn give_up(mm: &Mm, space: &AddressSpace, vma: &Vma, mut table: Severed<'_, '_>) {
    let (mut singles, mut anon, mut n) = (SingleBatch::new(mm), 0, 0);
    while n < ENTRIES_PER_TABLE {
        let leaf = table.take(n);
        n += match normal_page(leaf, Level::L3) {
            None => 1,
            Some(page) if page.is_single(PageKind::Anon) => {
                singles.put_mapped(page);
                anon += 1;
                1
            }
            Some(page) => {
                let run = taken_run(mm, space, vma, &mut table, (n, leaf, page));
                anon += give_up_run(mm, &run);
                run.entries as usize
            }
        };
    }
    singles.finish();
    space.sub_anon(mm, anon);
    table.free(mm);
}

/// Takes the rest of a run of one folio out of its table. `leaf`, which maps `page`, stood in entry `n` and was taken.
#[inline(never)]
fn taken_run(
    mm: &Mm,
    space: &AddressSpace,
    vma: &Vma,
    table: &mut Severed<'_, '_>,
    (n, leaf, page): (usize, Desc, PageRef),
) -> Run {
    let head = page.head(mm.config.tails);
    let left = head.order().pages() - page.pfn().offset_from(head.pfn());
    let more = table.take_run(n + 1, leaf, left as usize - 1);
    Run {
        head,
        first: page,
        entries: 1 + more as u32,
        level: Level::L3,
        table: table.address(),
        top: if head.order() == Order::PUD { table.above() } else { table.address() },
        va: table.start().add(n as u64 * PAGE_SIZE),
        space: space.id,
        owner: space.owner,
        vma: (vma.start, vma.end),
    }
}

/// What a run of entries had that were flushed goes: its counts and its references. Returns how many anonymous pages
/// they mapped.
fn give_up_run(mm: &Mm, run: &Run) -> u64 {
    let anon = uncount_removed(mm, run);
    mm.put_references(run.head, run.entries);
    anon
}

/// As [`uncount`], not a part of the loop over a table, which needs its registers for single pages.
#[inline(never)]
fn uncount_removed(mm: &Mm, run: &Run) -> u64 {
    uncount(mm, run, Counted::Removed)
}

/// The counts of a run of entries go. Returns how many anonymous pages they mapped.
#[inline]
fn uncount(mm: &Mm, run: &Run, counted: Counted) -> u64 {
    let remains = match counted {
        Counted::Removed => mapcount::remove(mm, run),
        Counted::Zapped => mapcount::zap(mm, run),
    };
    rmap::deferred::note(mm, run.head, remains);
    if run.head.kind() == PageKind::Anon { run.pages() } else { 0 }
}

/// Whether the byte before `end` and the one at `start` are translated by one level-3 table.
fn same_table(start: VirtAddr, end: VirtAddr) -> bool {
    let bytes = table_bytes(Level::L3);
    start.align_down(bytes).raw() == (end.raw() - 1) & !(bytes - 1)
}

/// Where the scan leaves a table, frees it if it is empty, and then the one above. `tables` are the steps from the root
/// to an entry of the lowest table that is still there.
///
/// `rest` is where the first of what is left of the space begins, if that is known: then nothing else need be looked at
/// to know whether a table is empty (Linux: the ceiling of `free_pgtables`).
fn prune(
    mm: &Mm,
    space: &AddressSpace,
    stretch: &mut Stretch<'_>,
    tables: &[WalkStep],
    (end, rest): (VirtAddr, Option<VirtAddr>),
    gather: &mut Gather<'_>,
) {
    let (va, next) = (stretch.start(), stretch.end());
    for pair in tables.windows(2).rev() {
        let above = pair[0];
        let leaves = next.is_aligned(above.level.entry_bytes()) || next >= end;
        if !leaves {
            return;
        }
        let (table, bytes) = (above.desc.output(above.level), above.level.entry_bytes());
        let empty = match rest {
            Some(rest) => va.align_down(bytes).add(bytes) <= rest,
            None => is_empty(table),
        };
        if !empty {
            return;
        }
        debug_assert!(is_empty(table), "a table of a space that goes holds what no VMA has");
        if let Ok(entry) = stretch.tree().entry(space.flusher(mm), va, above.level) {
            let unmapped = entry.clear(gather);
            gather.hold(unmapped);
        }
    }
}
