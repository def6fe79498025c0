//! Walks over a range of a live tree: what a call on a range does to what is mapped there.
//!
//! `scan` visits every descriptor that the range has, from the lowest address up: a leaf, or the invalid
//! one at which the walk ends. One step over an invalid level-1 descriptor passes 1 GiB, so an empty terabyte
//! costs a thousand steps. The page-table lock is let go after each `BATCH` of steps; M keeps the caller's
//! range as it is.
#![forbid(unsafe_code)]

use arch::addr::{ENTRIES_PER_TABLE, PAGE_SIZE};
use arch::layout::USER_END;
use arch::pte::{Kind, Migration, PteFlags};
use arch::{Desc, Level, Machine, PageSize, PhysAddr, PhysMem, VirtAddr};

use super::{AddressSpace, Prot, Vma, exclusive};
use crate::Mm;
use crate::error::OutOfMemory;
use crate::mapcount::{self, Run};
use crate::page::{PageKind, PageRef, page_of};
use crate::pgtable::{Entry, Gather, PtRoot, Unmapped, Walk, WalkStep, normal_folio};
use crate::rmap;
use crate::stats::Counter;

/// Descriptors looked at while the page-table lock is held once.
const BATCH: usize = 512;

/// One step of a `scan`.
pub(super) struct Visit<'l> {
    /// The tree, under its lock.
    pub(super) tree: &'l mut PtRoot,
    /// The lowest address of the range that the descriptor covers.
    pub(super) va: VirtAddr,
    /// One past the last address that the descriptor covers; not limited by the range.
    pub(super) next: VirtAddr,
    /// Every level.
    pub(super) walk: Walk,
}

impl Visit<'_> {
    /// The leaf, where there is one.
    pub(super) fn leaf(&self) -> Option<WalkStep> {
        self.walk.leaf()
    }
    /// The leaf, which must lie wholly in the range: blocks were split where the range cuts them.
    fn whole_leaf(&self, end: VirtAddr) -> Option<WalkStep> {
        let leaf = self.leaf()?;
        self.assert_whole(end);
        Some(leaf)
    }
    /// The migration entry, which must lie wholly in the range as a leaf must.
    pub(super) fn whole_migration(&self, end: VirtAddr) -> Option<Migration> {
        let migration = self.walk.migration()?;
        self.assert_whole(end);
        Some(migration)
    }
    fn assert_whole(&self, end: VirtAddr) {
        let whole = self.va.is_aligned(self.walk.last().level.entry_bytes()) && self.next <= end;
        assert!(whole, "the block at {} is cut by a range that ends at {end}", self.va);
    }
}

/// Visits every descriptor of `[start, end)`.
pub(super) fn scan(space: &AddressSpace, start: VirtAddr, end: VirtAddr, mut visit: impl FnMut(Visit<'_>)) {
    let mut va = start;
    while va < end {
        let mut tree = space.ptl.lock();
        for _ in 0..BATCH {
            if va >= end {
                break;
            }
            let walk = tree.walk(va);
            let bytes = walk.last().level.entry_bytes();
            let next = va.align_down(bytes).add(bytes);
            visit(Visit { tree: &mut tree, va, next, walk });
            va = next;
        }
    }
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
            let part = Vma { start: from, end: to, ..this };
            let mut va = from;
            while va < to {
                va = unmap_table(mm, space, &part, this, va, last, gather);
            }
            vma = next;
        }
    });
}

/// Unmaps what one table has of `part`, a part of `vma`, from `va` on: the rest of a level-3 table, or one entry above.
/// Returns where it ended. Tables that are empty then are freed, but those that reach beyond `last`.
fn unmap_table(
    mm: &Mm,
    space: &AddressSpace,
    part: &Vma,
    vma: Vma,
    va: VirtAddr,
    last: VirtAddr,
    gather: &mut Gather<'_>,
) -> VirtAddr {
    let mut tree = space.ptl.lock();
    let (step, entry) = tree.last_entry(space.flusher(mm), va);
    let bytes = step.level.entry_bytes();
    let next = match step.level {
        Level::L3 => va.align_down(table_bytes(Level::L3)).add(table_bytes(Level::L3)).min(part.end),
        _ => va.align_down(bytes).add(bytes),
    };
    if step.level == Level::L3 || !step.desc.is_empty() {
        let whole = va.is_aligned(bytes) && next <= part.end;
        assert!(whole, "the block at {va} is cut by a range that ends at {}", part.end);
        let (mut anon, mut blocks) = (0, 0);
        let mut run = run_of(space, &vma, &entry, page_of(step.desc.output(step.level).pfn()));
        entry.clear_leaves(mm, (next.offset_from(va) / bytes) as usize, gather, |va, unmapped, gather| {
            if let Some(head) = unmapped.folio() {
                (run.head, run.first, run.entries, run.va) = (head, unmapped.first(), unmapped.entries(), va);
                let remains = mapcount::remove(mm, &run);
                rmap::deferred::note(mm, head, remains);
                if head.kind() == PageKind::Anon {
                    anon += run.pages();
                    blocks += u64::from(run.level == Level::L2);
                }
            }
            gather.hold_run(unmapped);
        });
        mm.stats.sub(Counter::NrAnon, anon);
        mm.stats.sub(Counter::NrAnonThp, blocks);
    }
    let walk = tree.walk(va);
    prune(mm, space, Visit { tree: &mut tree, va, next, walk }, last, gather);
    next
}

/// Unmaps the leaves of `part`, a part of a VMA, whose folio is `wanted`, and entries that are to map it when it has
/// moved; tables stay. The caller has not M, but knows
/// that the space has its tables yet: whatever else happens to the VMA happens to each leaf under T.
pub(crate) fn unmap_if(mm: &Mm, space: &AddressSpace, part: &Vma, wanted: impl Fn(PageRef) -> bool) {
    mm.gather(space.tag(), |gather| {
        scan(space, part.start, part.end, |visit| {
            if let Some(moving) = visit.walk.migration()
                && wanted(page_of(moving.output.pfn()).head(mm.config.tails))
                && let Ok(entry) = visit.tree.entry(space.flusher(mm), visit.va, visit.walk.last().level)
            {
                entry.take_migration();
                return;
            }
            let Some(leaf) = visit.leaf() else { return };
            let head = normal_folio(mm, leaf.desc, leaf.level).filter(|&head| wanted(head));
            if let Some(head) = head
                && let Ok(entry) = visit.tree.entry(space.flusher(mm), visit.va, leaf.level)
            {
                let run = run_of(space, part, &entry, head);
                let unmapped = entry.clear(gather);
                release_mapping(mm, run, unmapped, gather);
            }
        });
    });
}

/// Whether the byte before `end` and the one at `start` are translated by one level-3 table.
fn same_table(start: VirtAddr, end: VirtAddr) -> bool {
    let bytes = table_bytes(Level::L3);
    start.align_down(bytes).raw() == (end.raw() - 1) & !(bytes - 1)
}

/// What a leaf held goes: its count, its place in the counters, its reference.
fn release_mapping<'g>(mm: &Mm, run: Run, unmapped: Unmapped<'g>, gather: &mut Gather<'g>) {
    if let Some(head) = unmapped.folio(mm) {
        let remains = mapcount::remove(mm, &Run { head, ..run });
        rmap::deferred::note(mm, head, remains);
        if head.kind() == PageKind::Anon {
            mm.stats.sub(Counter::NrAnon, run.pages());
            if run.level == Level::L2 {
                mm.stats.sub(Counter::NrAnonThp, 1);
            }
        }
    }
    gather.hold(unmapped);
}

/// Where the scan leaves a table, frees it if it is empty, and then the one above.
fn prune(mm: &Mm, space: &AddressSpace, visit: Visit<'_>, end: VirtAddr, gather: &mut Gather<'_>) {
    for pair in visit.walk.steps().windows(2).rev() {
        let above = pair[0];
        let leaves = visit.next.is_aligned(above.level.entry_bytes()) || visit.next >= end;
        let table = above.desc.output(above.level);
        if !leaves || !is_empty(table) {
            return;
        }
        if let Ok(entry) = visit.tree.entry(space.flusher(mm), visit.va, above.level) {
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
    scan(space, start, end, |visit| {
        if let Some(migration) = visit.whole_migration(end) {
            protect_migration(mm, space, visit, migration, prot);
            return;
        }
        let Some(leaf) = visit.whole_leaf(end) else { return };
        let new = exclusive::leaf_again(mm, leaf.desc, leaf.level, prot);
        if new != leaf.desc
            && let Ok(entry) = visit.tree.entry(space.flusher(mm), visit.va, leaf.level)
        {
            entry.tighten(new, gather);
        }
    });
}

/// Changes the rights that an entry will have when its frame has moved; no right to write where there was none, as in
/// [`exclusive::leaf_again`].
fn protect_migration(mm: &Mm, space: &AddressSpace, visit: Visit<'_>, old: Migration, prot: Prot) {
    let level = visit.walk.last().level;
    let no_write = old.flags & PteFlags::READ_ONLY;
    let new = old.with_flags(leaf_for(mm, old.output, level, prot).flags(level) | no_write);
    if new != old
        && let Ok(entry) = visit.tree.entry(space.flusher(mm), visit.va, level)
    {
        entry.change_migration(new);
    }
}

/// The leaf of `level` for a frame in a VMA with these rights. The page of zeros is special and never writable. A frame
/// that may be executed is made ready for that: some CPU's instruction cache may hold what it held before.
pub(crate) fn leaf_for(mm: &Mm, frame: PhysAddr, level: Level, prot: Prot) -> Desc {
    let mut flags = prot.leaf_flags();
    if mm.zero_page.is_at(frame) {
        flags |= PteFlags::READ_ONLY | PteFlags::SPECIAL;
    }
    let leaf = Desc::leaf(frame, level, flags);
    if leaf.user_exec() {
        Machine::sync_icache(frame, level.entry_bytes());
    }
    leaf
}

/// How many leaves `[start, end)` has, those that are moving among them.
pub(super) fn count_leaves(space: &AddressSpace, start: VirtAddr, end: VirtAddr) -> u64 {
    let mut leaves = 0;
    scan(space, start, end, |visit| {
        leaves += u64::from(visit.leaf().is_some() || visit.walk.migration().is_some());
    });
    leaves
}

/// What the tables of a space map, in pages of 4 KiB.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Usage {
    /// Anonymous pages, in blocks or not: the resident set as Linux counts it.
    pub anon: u64,
    /// Of these, pages in 2 MiB blocks.
    pub anon_huge: u64,
    /// Pages of hugetlb folios.
    pub hugetlb: u64,
    /// Entries that map the page of zeros.
    pub zero: u64,
    /// Tables, the root too.
    pub tables: u64,
}

impl Usage {
    fn add_leaf(&mut self, mm: &Mm, leaf: WalkStep) {
        let (output, pages) = (leaf.desc.output(leaf.level), leaf.level.entry_bytes() / PAGE_SIZE);
        if mm.zero_page.is_at(output) {
            self.zero += 1;
        }
        match normal_folio(mm, leaf.desc, leaf.level).map(PageRef::kind) {
            Some(PageKind::Hugetlb) => self.hugetlb += pages,
            Some(PageKind::Anon) if leaf.kind() == Kind::Block => {
                self.anon += pages;
                self.anon_huge += pages;
            }
            Some(PageKind::Anon) => self.anon += pages,
            _ => {}
        }
    }
}

impl Mm {
    /// What the tables of `space` map, by a scan. May sleep.
    #[must_use]
    pub fn usage(&self, space: &AddressSpace) -> Usage {
        let _mmap = space.mmap_lock.read(self.env);
        let mut usage = Usage::default();
        scan(space, VirtAddr::new(0), USER_END, |visit| {
            let new_tables = |step: &&WalkStep| {
                step.level == Level::L0 && visit.va.raw() == 0
                    || step.level != Level::L0 && visit.va.is_aligned(table_bytes(step.level))
            };
            usage.tables += visit.walk.steps().iter().filter(new_tables).count() as u64;
            if let Some(leaf) = visit.leaf() {
                usage.add_leaf(self, leaf);
            }
        });
        usage
    }
}

/// Bytes that a table of `level` covers.
fn table_bytes(level: Level) -> u64 {
    level.entry_bytes() * ENTRIES_PER_TABLE as u64
}
