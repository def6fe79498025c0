//! Walks over a range of a live tree: what a call on a range does to what is mapped there.
//!
//! `scan` visits every entry that the range has, from the lowest address up, a stretch of one table at a time: leaves,
//! and invalid entries. One invalid level-1 entry passes 1 GiB, so an empty terabyte costs two stretches of 512. The
//! page-table lock is let go after each stretch; M keeps the caller's range as it is.
#![forbid(unsafe_code)]

use arch::addr::{ENTRIES_PER_TABLE, PAGE_SIZE};
use arch::layout::USER_END;
use arch::pte::PteFlags;
use arch::{Desc, Level, Machine, PageSize, PhysAddr, PhysMem, VirtAddr};

use super::rights::Rights;
use super::{AddressSpace, Prot, Vma};
use crate::Mm;
use crate::error::OutOfMemory;
use crate::mapcount::{self, Run};
use crate::page::{PageKind, PageRef, page_of};
use crate::pgtable::{Entry, Gather, PtRoot, Stretch, Unmapped, normal_folio, normal_page};
use crate::rmap;
use crate::stats::Counter;

/// Visits every entry of `[start, end)` that is no table, by stretches of one table. The page-table lock is held for one
/// stretch at a time.
pub(super) fn scan(
    mm: &Mm,
    space: &AddressSpace,
    start: VirtAddr,
    end: VirtAddr,
    mut visit: impl FnMut(&mut Stretch<'_>),
) {
    let mut va = start;
    while va < end {
        let mut tree = space.ptl.lock();
        let mut stretch = tree.stretch(space.flusher(mm), va, end);
        visit(&mut stretch);
        va = stretch.end();
    }
}

/// No block may be cut by the range: they were split.
fn assert_whole(stretch: &Stretch<'_>, start: VirtAddr, end: VirtAddr) {
    let (from, to) = (stretch.start(), stretch.end());
    assert!(stretch.is_within(start, end), "a block between {from} and {to} is cut by {start} or {end}");
}

/// Splits the blocks that an end of `[start, end)` cuts, so that each leaf is wholly in the range or out of
/// it. M is held for writing.
///
/// # Errors
/// [`OutOfMemory`]: no table for the pieces. What was split stays split, which nobody can see.
pub(super) fn split_edges(
    mm: &Mm,
    space: &AddressSpace,
    start: VirtAddr,
    end: VirtAddr,
) -> Result<(), OutOfMemory> {
    for va in [start, end] {
        crate::thp::split::split_at(mm, space, va)?;
    }
    Ok(())
}

/// Gives up the reservations of huge pages that an end of `[start, end)` cuts: the two sides will differ.
pub(super) fn release_cut_reservations(mm: &Mm, space: &AddressSpace, start: VirtAddr, end: VirtAddr) {
    let bytes = PageSize::Size2M.bytes();
    for va in [start, end] {
        if !va.is_aligned(bytes) {
            let block = va.align_down(bytes);
            crate::thp::reservation::release_range(mm, space, block, block.add(bytes));
        }
    }
}

/// One entry, in `vma`, that maps a part of a folio from `page` on: what is counted when it is made or cleared.
pub(crate) fn run_of(space: &AddressSpace, vma: &Vma, entry: &Entry<'_>, page: PageRef) -> Run {
    Run {
        head: page,
        first: page,
        entries: 1,
        level: entry.level(),
        table: entry.table(),
        top: entry.table(),
        va: entry.va(),
        space: space.id,
        owner: space.owner,
        vma: (vma.start, vma.end),
    }
}

/// The level-3 table that translates the address. Under T.
pub(super) fn leaf_table(tree: &PtRoot, va: VirtAddr) -> Option<PhysAddr> {
    let last = tree.walk(va).last();
    (last.level == Level::L3).then(|| PhysAddr::new(last.slot.raw() & !(PAGE_SIZE - 1)))
}

/// Unmaps every leaf of `[start, end)` and frees the tables that become empty. M is held for writing, no
/// block is cut by the range, and its reservations are released. Everything goes through one gather.
pub(super) fn unmap(mm: &Mm, space: &AddressSpace, start: VirtAddr, end: VirtAddr) {
    mm.gather(space.tag(), |gather| {
        let mut vma = space.find_vma(start).filter(|vma| vma.start < end);
        while let Some(this) = vma {
            let (from, to) = (this.start.max(start), this.end.min(end));
            let next = space.find_vma(this.end).filter(|next| next.start < end);
            // A table that the next VMA has a share in is looked at when that is done.
            let goes_on = next.is_some_and(|next| same_table(next.start, to));
            let last = if goes_on { USER_END } else { to };
            // Where the whole space goes, tables hold what later VMAs have, and nothing else.
            let whole = start.raw() == 0 && end == USER_END;
            let rest = whole.then(|| next.map_or(VirtAddr::new(u64::MAX), |next| next.start));
            scan(mm, space, from, to, |stretch| {
                assert_whole(stretch, from, to);
                clear(mm, space, &this, stretch, gather, |_| true);
                prune(mm, space, stretch, last, rest, gather);
            });
            vma = next;
        }
    });
}

/// Unmaps the leaves of `part`, a part of a VMA, whose folio is `wanted`, and entries that are to map it when it has
/// moved; tables stay. The caller has not M, but knows
/// that the space has its tables yet: whatever else happens to the VMA happens to each leaf under T.
pub(crate) fn unmap_if(mm: &Mm, space: &AddressSpace, part: &Vma, wanted: impl Fn(PageRef) -> bool) {
    mm.gather(space.tag(), |gather| {
        scan(mm, space, part.start, part.end, |stretch| {
            let level = stretch.level();
            clear(mm, space, part, stretch, gather, |desc| match desc.as_migration(level) {
                Some(moving) => wanted(page_of(moving.output.pfn()).head(mm.config.tails)),
                None => normal_folio(mm, desc, level).is_some_and(&wanted),
            });
        });
    });
}

/// Clears the entries of a stretch, a part of `vma`, that hold something which is `wanted`.
pub(crate) fn clear<'g>(
    mm: &Mm,
    space: &AddressSpace,
    vma: &Vma,
    stretch: &mut Stretch<'_>,
    gather: &mut Gather<'g>,
    wanted: impl FnMut(Desc) -> bool,
) {
    let Some(page) = stretch.descs().find_map(|desc| normal_page(desc, stretch.level())) else {
        return stretch.clear(gather, wanted, |_, unmapped, gather| gather.hold(unmapped));
    };
    let mut run = run_of(space, vma, &stretch.entry(0), page);
    let (first, bytes) = (run.va, run.level.entry_bytes());
    let mut anon = 0;
    stretch.clear(gather, wanted, |n, unmapped, gather| {
        run.va = first.add(n as u64 * bytes);
        anon += release(mm, &mut run, unmapped, gather);
    });
    if anon != 0 {
        mm.stats.sub(Counter::NrAnon, anon);
        if run.level == Level::L2 {
            mm.stats.sub(Counter::NrAnonThp, anon / (bytes / PAGE_SIZE));
        }
    }
}

/// What a run of entries held goes: its counts and its references. `run` is of the entries' table and begins with the
/// first. Returns how many anonymous pages they mapped.
fn release<'g>(mm: &Mm, run: &mut Run, mut unmapped: Unmapped<'g>, gather: &mut Gather<'g>) -> u64 {
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
        run.entries = u64::from(unmapped.entries()).min(left / bytes) as u32;
        let remains = mapcount::remove(mm, run);
        rmap::deferred::note(mm, head, remains);
        if head.kind() == PageKind::Anon {
            anon += run.pages();
        }
        run.va = run.va.add(u64::from(run.entries) * bytes);
        gather.hold(unmapped.take(run.entries));
    }
    anon
}

/// Whether the byte before `end` and the one at `start` are translated by one level-3 table.
fn same_table(start: VirtAddr, end: VirtAddr) -> bool {
    let bytes = table_bytes(Level::L3);
    start.align_down(bytes).raw() == (end.raw() - 1) & !(bytes - 1)
}

/// Where the scan leaves a table, frees it if it is empty, and then the one above.
///
/// `rest` is where the first of what is left of the space begins, if that is known: then nothing else need be looked at
/// to know whether a table is empty (Linux: the ceiling of `free_pgtables`).
fn prune(
    mm: &Mm,
    space: &AddressSpace,
    stretch: &mut Stretch<'_>,
    end: VirtAddr,
    rest: Option<VirtAddr>,
    gather: &mut Gather<'_>,
) {
    let (va, next, walk) = (stretch.start(), stretch.end(), *stretch.walk());
    let all_cleared = stretch.level() == Level::L3 && stretch.len() == ENTRIES_PER_TABLE;
    for pair in walk.steps().windows(2).rev() {
        let above = pair[0];
        let leaves = next.is_aligned(above.level.entry_bytes()) || next >= end;
        let known = all_cleared && above.level == Level::L2;
        if !leaves {
            return;
        }
        let (table, bytes) = (above.desc.output(above.level), above.level.entry_bytes());
        let empty = match rest {
            Some(rest) => va.align_down(bytes).add(bytes) <= rest,
            None => known || is_empty(table),
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

pub(super) fn is_empty(table: PhysAddr) -> bool {
    (0..ENTRIES_PER_TABLE as u64).all(|n| Machine::read_desc(table.add(8 * n)).is_empty())
}

/// Gives every leaf of `[start, end)` the rights of `prot`, but for writing to a page that is not exclusive: that is for
/// a write to ask for. M is held for writing, and no block is cut by the range.
///
/// The flush that `gather` owes covers leaves that got more and leaves that got fewer rights: a TLB may hold the old
/// permission of either kind, and one that grants too little would fault for ever.
pub(super) fn protect(
    mm: &Mm,
    space: &AddressSpace,
    start: VirtAddr,
    end: VirtAddr,
    prot: Prot,
    gather: &mut Gather<'_>,
) {
    let mut rights = Rights::new(mm, prot);
    scan(mm, space, start, end, |stretch| {
        assert_whole(stretch, start, end);
        let level = stretch.level();
        rights.forget_folio();
        stretch.tighten(gather, |_, old| rights.change(old, level));
        stretch.fold(mm);
    });
}

/// The leaf of `level` for a frame in a VMA with these rights. The page of zeros is special and never writable.
#[inline]
pub(crate) fn leaf_for(mm: &Mm, frame: PhysAddr, level: Level, prot: Prot) -> Desc {
    let zeros = match level {
        Level::L3 => mm.zero_page.is_at(frame),
        _ => mm.huge_zero.is_at(frame),
    };
    let special = if zeros { PteFlags::READ_ONLY | PteFlags::SPECIAL } else { PteFlags::empty() };
    ready(Desc::leaf(frame, level, prot.leaf_flags() | special), level)
}

/// The leaf. A frame that may be executed is made ready for that: some CPU's instruction cache may hold what it held
/// before.
#[inline]
pub(super) fn ready(leaf: Desc, level: Level) -> Desc {
    if leaf.user_exec() {
        Machine::sync_icache(leaf.output(level), level.entry_bytes());
    }
    leaf
}

/// How many leaves `[start, end)` has, those that are moving among them.
pub(super) fn count_leaves(mm: &Mm, space: &AddressSpace, start: VirtAddr, end: VirtAddr) -> u64 {
    let mut leaves = 0;
    scan(mm, space, start, end, |stretch| {
        let level = stretch.level();
        let counts = |desc: &Desc| desc.is_leaf(level) || desc.is_migration();
        leaves += stretch.descs().filter(counts).count() as u64;
    });
    leaves
}

/// Bytes that a table of `level` covers.
pub(super) fn table_bytes(level: Level) -> u64 {
    level.entry_bytes() * ENTRIES_PER_TABLE as u64
}
