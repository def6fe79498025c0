//! What mremap does to the tables: entries go to another place, and no byte is copied.
//!
//! ```text
//!   congruent modulo 2 MiB       slots that lie wholly in the range: the level-2 entry goes, block or table
//!                                the rest: page entries go, from table to table
//!   not congruent                page entries go; blocks were split before
//!   hugetlb pages of 1 GiB       the level-1 entry goes, block or table
//! ```
//! **Protocol.** All that can fail is done in [`prepare`], which changes nothing that anybody can see: blocks are split
//! where they must be, and tables allocated. [`entries`] moves by steps, each of a few tables of the old place. A
//! step holds the lineage, and the mappers of an object, under which the reverse map looks for pages; the old
//! translations are flushed before it lets them go (Linux: `move_page_tables`, `move_pgt_entry`). So whoever finds a
//! page at its new place may unmap and free it.
#![forbid(unsafe_code)]

use arch::addr::{ENTRIES_PER_TABLE, PAGE_SIZE};
use arch::{Desc, Level, Machine, Order, PageSize, PhysAddr, PhysMem, VirtAddr};

use super::range::{clear_empty_tables, prune, run_of};
use super::{AddressSpace, Vma};
use crate::Mm;
use crate::error::OutOfMemory;
use crate::hugetlb::HugeSize;
use crate::mapcount::{self, Place, Run};
use crate::page::{PageRef, page_of};
use crate::pgtable::{Gather, PtRoot, TableStock, Walk, WalkStep, normal_folio};
use crate::thp;

const BLOCK: u64 = PageSize::Size2M.bytes();
const GIANT: u64 = PageSize::Size1G.bytes();
/// Tables of the old place whose entries are moved between two flushes: so many that one operation for all of the
/// ASID is cheaper than one for each page, and so few that the locks are let go in between.
const TABLES: usize = 8;

/// A move of `bytes` bytes of one VMA. Addresses and length are multiples of 4 KiB; old and new place do not overlap.
#[derive(Clone, Copy)]
pub(super) struct Move {
    /// The first address of the old place.
    pub(super) from: VirtAddr,
    /// The first address of the new place.
    pub(super) to: VirtAddr,
    /// How much.
    pub(super) bytes: u64,
    /// The VMA before.
    pub(super) old: Vma,
    /// The VMA afterwards; as much of it as has been asked for.
    pub(super) new: Vma,
}

impl Move {
    /// Whether level-2 entries can go as they are.
    fn is_congruent(&self) -> bool {
        self.from.raw() % BLOCK == self.to.raw() % BLOCK
    }
    /// Where the page at `va` goes.
    fn target(&self, va: VirtAddr) -> VirtAddr {
        self.to.add(va.offset_from(self.from))
    }
    fn end(&self) -> VirtAddr {
        self.from.add(self.bytes)
    }
    /// How many level-2 entries go as they are from `va` on, at most those of one table of either place.
    fn slots(&self, va: VirtAddr) -> usize {
        let left = (self.end().offset_from(va) / BLOCK) as usize;
        left.min(ENTRIES_PER_TABLE - va.index(Level::L2).max(self.target(va).index(Level::L2)))
    }
    /// Whether a page of 1 GiB is mapped at `va`, by whatever entries: the level-1 entry goes, with what is below.
    fn is_giant(&self, walk: &Walk) -> bool {
        let holds = |step: &WalkStep| step.level == Level::L1 && step.desc != Desc::INVALID;
        self.old.kind.huge_size() == Some(HugeSize::G1) && walk.steps().iter().any(holds)
    }
    /// Whether the level-2 entry for `va`, an address of the old place, goes as it is: its 2 MiB do.
    fn is_whole(&self, va: VirtAddr) -> bool {
        let start = va.align_down(BLOCK);
        self.is_congruent() && start >= self.from && start.add(BLOCK) <= self.end()
    }
}

/// All that can fail: no block is left that would have to be cut, and the tables are returned that the new place may
/// lack. M is held for writing.
///
/// # Errors
/// [`OutOfMemory`]; nothing has changed that anybody can see.
pub(super) fn prepare<'m>(
    mm: &'m Mm,
    space: &AddressSpace,
    job: &Move,
) -> Result<TableStock<'m>, OutOfMemory> {
    let mut lacking = Lacking::default();
    let mut va = job.from;
    while va < job.end() {
        let walk = space.ptl.lock().walk(va);
        let last = walk.last();
        if job.is_giant(&walk) {
            lacking.add(job.target(va), Level::L1);
            va = va.add(GIANT);
            continue;
        }
        if last.level >= Level::L2 && job.is_whole(va) {
            lacking.add(job.target(va), Level::L2);
            va = va.add(job.slots(va) as u64 * BLOCK);
            continue;
        }
        let bytes = last.level.entry_bytes().max(BLOCK);
        let next = va.align_down(bytes).add(bytes).min(job.end());
        if last.level == Level::L3 || (last.level == Level::L2 && last.desc != Desc::INVALID) {
            thp::split::split_inside(mm, space, va)?;
            lacking.add(job.target(va), Level::L3);
            lacking.add(VirtAddr::new(job.target(next).raw() - 1), Level::L3);
        }
        va = next;
    }
    TableStock::for_range(mm, lacking.tables)
}

/// Counts tables of addresses that ascend.
#[derive(Default)]
struct Lacking {
    tables: usize,
    /// The tables of levels 1, 2 and 3 that were counted last.
    last: [Option<VirtAddr>; 3],
}

impl Lacking {
    /// Counts the tables down to `level` that translate `va`, but for those that were counted.
    fn add(&mut self, va: VirtAddr, level: Level) {
        for (table, last) in [Level::L1, Level::L2, Level::L3].into_iter().zip(&mut self.last) {
            let first = Some(va.align_down(table.entry_bytes() * ENTRIES_PER_TABLE as u64));
            if table <= level && *last != first {
                *last = first;
                self.tables += 1;
            }
        }
    }
}

/// Whether the tables of a range hold anything, or may: level-3 tables are not read.
pub(super) fn is_touched(space: &AddressSpace, start: VirtAddr, end: VirtAddr) -> bool {
    let mut va = start;
    while va < end {
        let last = space.ptl.lock().walk(va).last();
        if last.level == Level::L3 || last.desc != Desc::INVALID {
            return true;
        }
        let bytes = last.level.entry_bytes();
        va = va.align_down(bytes).add(bytes);
    }
    false
}

/// Takes tables away that hold nothing, where whole level-2 entries will go, or level-1 ones. M is held for writing,
/// and nothing is mapped at the new place.
pub(super) fn clear_target(mm: &Mm, space: &AddressSpace, job: &Move) {
    if !job.is_congruent() {
        return;
    }
    let (first, end) = (job.target(job.from.align_up(BLOCK)), job.to.add(job.bytes).align_down(BLOCK));
    let level = if job.old.kind.huge_size() == Some(HugeSize::G1) { Level::L1 } else { Level::L2 };
    clear_empty_tables(mm, space, level, (first, end));
}

/// Moves all entries, with the tables of `stock`. M is held for writing, both VMAs are in the set, nothing is mapped at
/// the new place, and the old one has no reservation.
pub(super) fn entries(mm: &Mm, space: &AddressSpace, job: &Move, stock: &mut TableStock<'_>) {
    let object = job.old.kind.object().and_then(|id| space.objects.find(id));
    let mut va = job.from;
    while va < job.end() {
        let _still = space.lineage.hold();
        let _mappers = object.as_ref().map(|object| object.hold_mappers());
        va = mm.gather(space.tag(), |gather| {
            let mut tree = space.ptl.lock();
            let step = |va: VirtAddr| (va < job.end()).then_some(Step { mm, space, job, va });
            (0..TABLES).fold(va, |va, _| step(va).map_or(va, |step| step.run(&mut tree, stock, gather)))
        });
    }
}

/// One step of a move.
struct Step<'s> {
    mm: &'s Mm,
    space: &'s AddressSpace,
    job: &'s Move,
    /// What comes next.
    va: VirtAddr,
}

impl Step<'_> {
    /// Moves what comes next. Returns where to go on.
    fn run(&self, tree: &mut PtRoot, stock: &mut TableStock<'_>, gather: &mut Gather<'_>) -> VirtAddr {
        let Step { job, va, .. } = *self;
        let walk = tree.walk(va);
        let last = walk.last();
        let next = va.align_down(last.level.entry_bytes()).add(last.level.entry_bytes());
        if job.is_giant(&walk) {
            // Both places are whole pages of that size.
            self.relocate(tree, Level::L1, (va, 1), stock, gather);
            prune(self.mm, self.space, tree, va, gather);
            return va.add(GIANT);
        }
        if last.level < Level::L2 || (last.level == Level::L2 && last.desc == Desc::INVALID) {
            // A truncation may have left tables here that hold nothing, and there is nobody to take them away later.
            if next.index(last.level) == 0 || next >= job.end() {
                prune(self.mm, self.space, tree, va, gather);
            }
            return next;
        }
        if job.is_whole(va) {
            return self.slots(tree, stock, gather);
        }
        assert!(last.level == Level::L3, "{} at {va} was to be split", last.desc);
        self.pages(tree, stock, gather)
    }

    /// How many entries of `level` can go at once from here.
    fn count(&self, level: Level) -> usize {
        let left = (self.job.end().offset_from(self.va) / level.entry_bytes()) as usize;
        let (from, to) = (self.va.index(level), self.job.target(self.va).index(level));
        left.min(ENTRIES_PER_TABLE - from.max(to))
    }

    /// Level-2 entries as they are.
    fn slots(&self, tree: &mut PtRoot, stock: &mut TableStock<'_>, gather: &mut Gather<'_>) -> VirtAddr {
        let Step { mm, space, job, va } = *self;
        let count = self.count(Level::L2);
        self.relocate(tree, Level::L2, (va, count), stock, gather);
        let next = va.add(count as u64 * BLOCK);
        if next.index(Level::L2) == 0 || next >= job.end() {
            prune(mm, space, tree, va, gather);
        }
        next
    }

    /// Entries of one level-3 table.
    fn pages(&self, tree: &mut PtRoot, stock: &mut TableStock<'_>, gather: &mut Gather<'_>) -> VirtAddr {
        let Step { mm, va, .. } = *self;
        let count = self.count(Level::L3);
        if mapcount::scheme(mm).place() == Place::Anywhere {
            self.relocate(tree, Level::L3, (va, count), stock, gather);
            return self.after_pages(tree, count, gather);
        }
        let table = self.table(tree);
        // Entries of one large folio, or of none, go together.
        let mut run: Option<(usize, Option<PageRef>)> = None;
        for n in 0..count {
            let old = self.desc(table, n);
            if old == Desc::INVALID {
                continue;
            }
            let folio = large_folio(mm, old);
            match run {
                Some((_, same)) if same == folio => {}
                Some((first, before)) => {
                    self.run_of_pages(tree, (first, n), before, stock, gather);
                    run = Some((n, folio));
                }
                None => run = Some((n, folio)),
            }
        }
        if let Some((first, folio)) = run {
            self.run_of_pages(tree, (first, count), folio, stock, gather);
        }
        self.after_pages(tree, count, gather)
    }

    /// Takes the table away if it is left, and holds nothing. Returns where to go on.
    fn after_pages(&self, tree: &mut PtRoot, count: usize, gather: &mut Gather<'_>) -> VirtAddr {
        let Step { mm, space, job, va } = *self;
        let next = va.add(count as u64 * PAGE_SIZE);
        if next.is_aligned(BLOCK) || next >= job.end() {
            prune(mm, space, tree, va, gather);
        }
        next
    }

    /// Entries `first..end` from here, all of one large folio or none of any. Single pages are counted the same
    /// wherever they are mapped; of others the count may depend on table and place.
    fn run_of_pages(
        &self,
        tree: &mut PtRoot,
        (first, end): (usize, usize),
        folio: Option<PageRef>,
        stock: &mut TableStock<'_>,
        gather: &mut Gather<'_>,
    ) {
        let Some(head) = folio else {
            let va = self.va.add(first as u64 * PAGE_SIZE);
            return self.relocate(tree, Level::L3, (va, end - first), stock, gather);
        };
        let table = self.table(tree);
        let mut n = first;
        while n < end {
            let old = self.desc(table, n);
            let goes_on = |m: &usize| self.desc(table, *m).raw() == old.raw() + (*m - n) as u64 * PAGE_SIZE;
            let next = (n + 1..end).take_while(goes_on).last().map_or(n + 1, |last| last + 1);
            if old != Desc::INVALID {
                self.counted_run(tree, (n, next), head, stock, gather);
            }
            n = next;
        }
    }

    /// Entries `n..end` from here, which map consecutive pages of `head`.
    fn counted_run(
        &self,
        tree: &mut PtRoot,
        (n, end): (usize, usize),
        head: PageRef,
        stock: &mut TableStock<'_>,
        gather: &mut Gather<'_>,
    ) {
        let va = self.va.add(n as u64 * PAGE_SIZE);
        let old = self.counted(tree, &self.job.old, va, head);
        self.relocate(tree, Level::L3, (va, end - n), stock, gather);
        let new = self.counted(tree, &self.job.new, self.job.target(va), head);
        if let (Some(old), Some(new)) = (old, new) {
            let (first, entries) = (old.first, (end - n) as u32);
            mapcount::add(self.mm, &Run { entries, first, ..new });
            mapcount::remove(self.mm, &Run { entries, ..old });
        }
    }

    /// The level-3 table from which entries go.
    fn table(&self, tree: &PtRoot) -> PhysAddr {
        PhysAddr::new(tree.walk(self.va).last().slot.raw() & !(PAGE_SIZE - 1))
    }
    /// What stands `n` entries after the first.
    fn desc(&self, table: PhysAddr, n: usize) -> Desc {
        Machine::read_desc(table.add(8 * (self.va.index(Level::L3) + n) as u64))
    }

    /// The run of one entry that maps a page of `head` at `va` of `vma`.
    fn counted(&self, tree: &mut PtRoot, vma: &Vma, va: VirtAddr, head: PageRef) -> Option<Run> {
        let entry = tree.entry(self.space.flusher(self.mm), va, Level::L3).ok()?;
        let page = page_of(entry.desc().output(Level::L3).pfn());
        Some(Run { head, first: page, ..run_of(self.space, vma, &entry, page) })
    }

    fn relocate(
        &self,
        tree: &mut PtRoot,
        level: Level,
        (va, count): (VirtAddr, usize),
        stock: &mut TableStock<'_>,
        gather: &mut Gather<'_>,
    ) {
        let (flusher, to) = (self.space.flusher(self.mm), self.job.target(va));
        let there = tree.entry_or_table(flusher, to, level, stock).map(drop);
        let moved = there.and_then(|()| tree.relocate(flusher, (va, to), level, count, gather));
        assert!(moved.is_ok(), "{va} cannot go to {to}: {moved:?}");
    }
}

/// The folio of order 1 or more of which a level-3 entry maps a page.
fn large_folio(mm: &Mm, desc: Desc) -> Option<PageRef> {
    normal_folio(mm, desc, Level::L3).filter(|head| head.order() != Order::PAGE)
}
