//! Entries of one table that a walk over a range comes to at once.
//!
//! ```text
//!   level-2 table   [ block | block | . | . | table | ... ]        level-3 table  [ page | . | page | ... ]
//!                    `---- one stretch ----'   `--> below                          `------ one ------'
//! ```
//! A stretch ends with its table, with the range, or before an entry that leads to a table. It is had from the locked
//! tree and borrows it; its entries are changed through [`Entry`] or, many at once, by its own functions, which do the
//! same with one count of stores and one range to flush.
#![forbid(unsafe_code)]

use arch::addr::{ENTRIES_PER_TABLE, PAGE_SIZE};
use arch::contiguous::CONT_ENTRIES;
use arch::contract::Depth;
use arch::pte::Kind;
use arch::{Desc, Level, Machine, PhysAddr, PhysMem, VirtAddr};

use super::entry::Entry;
use super::flush::{FlushRange, Flusher};
use super::gather::Gather;
use super::root::PtRoot;
use super::unlinked::Unmapped;
use super::walk::Walk;

/// A run of leaves that were cleared, and that nobody holds yet.
struct Pending {
    first: usize,
    desc: Desc,
    entries: u32,
}

/// See the [module](self).
pub struct Stretch<'l> {
    tree: &'l mut PtRoot,
    flusher: Flusher<'l>,
    /// To the first entry.
    walk: Walk,
    /// Where that stands.
    first: PhysAddr,
    /// The lowest address of the range that the first entry covers.
    va: VirtAddr,
    level: Level,
    len: usize,
}

impl PtRoot {
    /// The entries from the one at which the walk for `va` ends, below `end`.
    pub fn stretch<'l>(&'l mut self, flusher: Flusher<'l>, va: VirtAddr, end: VirtAddr) -> Stretch<'l> {
        let walk = self.walk(va);
        let (last, level) = (walk.last(), walk.last().level);
        let bytes = level.entry_bytes();
        let wanted = end.offset_from(va.align_down(bytes)).div_ceil(bytes);
        let most = wanted.min((ENTRIES_PER_TABLE - va.index(level)) as u64);
        let is_table = |n: &u64| Machine::read_desc(last.slot.add(8 * n)).kind(level) == Kind::Table;
        let len = if level == Level::L3 { most } else { (1..most).find(is_table).unwrap_or(most) };
        Stretch { tree: self, flusher, walk, first: last.slot, va, level, len: len as usize }
    }
}

impl<'l> Stretch<'l> {
    /// Who flushes for the tree.
    pub(super) fn flusher(&self) -> Flusher<'l> {
        self.flusher
    }
    /// How many entries; at least 1.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }
    /// Never: a stretch has an entry.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
    /// The level of the table.
    #[must_use]
    pub fn level(&self) -> Level {
        self.level
    }
    /// The lowest address of the range that the first entry covers.
    #[must_use]
    pub fn start(&self) -> VirtAddr {
        self.va
    }
    /// One past the last address that the last entry covers; it may lie beyond the range.
    #[must_use]
    pub fn end(&self) -> VirtAddr {
        let bytes = self.level.entry_bytes();
        self.va.align_down(bytes).add(self.len as u64 * bytes)
    }
    /// The walk to the first entry.
    #[must_use]
    pub fn walk(&self) -> &Walk {
        &self.walk
    }
    /// What stands in entry `n`.
    #[must_use]
    pub fn desc(&self, n: usize) -> Desc {
        Machine::read_desc(self.slot(n))
    }
    /// Where entry `n` stands.
    #[inline]
    pub(super) fn slot(&self, n: usize) -> PhysAddr {
        debug_assert!(n < self.len);
        self.first.add(8 * n as u64)
    }
    /// The table, and where the first entry stands in it.
    #[inline]
    pub(super) fn place(&self) -> (PhysAddr, usize) {
        (PhysAddr::new(self.first.raw() & !(PAGE_SIZE - 1)), self.va.index(self.level))
    }
    /// Holds a store to entry `n` of the table against the rule, in debug builds.
    #[inline(always)]
    pub(super) fn verify_at(&self, n: usize, new: Desc) {
        if cfg!(debug_assertions) {
            self.nth(n - self.va.index(self.level)).verify(new);
        }
    }
    /// Stores what entry `n` holds from now on; the caller counts and owes.
    #[inline]
    pub(super) fn put(&self, n: usize, new: Desc) {
        if cfg!(debug_assertions) {
            self.nth(n).verify(new);
        }
        Machine::write_desc(self.slot(n), new);
    }
    fn nth(&self, n: usize) -> Entry<'_> {
        Entry::new(self.slot(n), self.level, self.va.add(n as u64 * self.level.entry_bytes()), self.flusher)
    }
    /// What stands in all entries.
    pub fn descs(&self) -> impl Iterator<Item = Desc> {
        (0..self.len).map(|n| self.desc(n))
    }
    /// The tree.
    pub fn tree(&mut self) -> &mut PtRoot {
        self.tree
    }
    /// Entry `n`.
    pub fn entry(&mut self, n: usize) -> Entry<'_> {
        assert!(n < self.len, "entry {n} of a stretch of {}", self.len);
        self.nth(n)
    }

    /// Whether no entry that holds something reaches out of `[start, end)`.
    #[must_use]
    pub fn is_within(&self, start: VirtAddr, end: VirtAddr) -> bool {
        let first = self.va.align_down(self.level.entry_bytes()) >= start || self.desc(0).is_empty();
        first && (self.end() <= end || self.desc(self.len - 1).is_empty())
    }

    /// Unfolds the groups that an end of the stretch cuts. Those that are left lie wholly inside.
    fn unfold_cut(&mut self) {
        let (len, first) = (self.len, self.va.index(self.level));
        if self.level >= Level::L2 && !first.is_multiple_of(CONT_ENTRIES) {
            self.entry(0).unfold();
        }
        if self.level >= Level::L2 && !(first + len).is_multiple_of(CONT_ENTRIES) {
            self.entry(len - 1).unfold();
        }
    }

    /// As [`Entry::tighten_run`], of all entries.
    pub fn tighten(&mut self, gather: &mut Gather<'_>, new: impl FnMut(usize, Desc) -> Option<Desc>) {
        let len = self.len;
        self.entry(0).tighten_run(len, gather, new);
    }

    /// Makes every entry invalid that holds something which is `wanted`. What leaves held goes to `each`, with the
    /// number of the first entry: runs of leaves that map consecutive frames with the same attributes. The flush is
    /// owed to `gather` by then. Of other entries, which are invalid already, nothing is left. `wanted` answers the
    /// same for all pages of one folio, and of a folded group of single pages, so a group goes as a whole or stays.
    pub fn clear<'g>(
        &mut self,
        gather: &mut Gather<'g>,
        mut wanted: impl FnMut(Desc) -> bool,
        mut each: impl FnMut(usize, Unmapped<'g>, &mut Gather<'g>),
    ) {
        self.unfold_cut();
        let (mut pending, mut stores) = (None, 0);
        for n in 0..self.len {
            let old = self.desc(n);
            if old == Desc::INVALID || !wanted(old) {
                continue;
            }
            if old.is_valid() && !self.goes_on(&mut pending, n, old) {
                // Before this one is cleared: ways of counting look at what stands beside a run.
                let full = pending.replace(Pending { first: n, desc: old, entries: 1 });
                self.hand_on(full, gather, &mut each);
            }
            self.put(n, Desc::INVALID);
            stores += 1;
        }
        self.flusher.note_stores(stores, (self.va, self.level));
        self.hand_on(pending, gather, &mut each);
    }

    /// Whether `next`, which stood in entry `n`, is one more of the run.
    fn goes_on(&self, pending: &mut Option<Pending>, n: usize, next: Desc) -> bool {
        let Some(run) = pending else { return false };
        let bytes = u64::from(run.entries) * self.level.entry_bytes();
        let goes_on = n == run.first + run.entries as usize && next.raw() == run.desc.raw() + bytes;
        run.entries += u32::from(goes_on);
        goes_on
    }

    fn hand_on<'g>(
        &self,
        run: Option<Pending>,
        gather: &mut Gather<'g>,
        each: &mut impl FnMut(usize, Unmapped<'g>, &mut Gather<'g>),
    ) {
        if let Some(Pending { first, desc, entries }) = run {
            self.owe(first, first + entries as usize - 1, gather);
            each(first, Unmapped::run(desc, self.level, entries), gather);
        }
    }

    /// The flush of these entries, leaves all of them, is `gather`'s.
    pub(super) fn owe(&self, first: usize, last: usize, gather: &mut Gather<'_>) {
        let bytes = self.level.entry_bytes();
        let base = self.va.align_down(bytes);
        let (start, end) = (base.add(first as u64 * bytes), base.add((last + 1) as u64 * bytes));
        gather.owe(self.flusher, FlushRange { start, end, level: Some(self.level), depth: Depth::LeafOnly });
    }
}
