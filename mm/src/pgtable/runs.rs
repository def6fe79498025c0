//! Runs of live entries that are changed together, with one flush for all of them.
//!
//! What changes thousands of entries pays for a flush a list, not for one an entry. The price is that all of them are
//! in the same state at a time, so that is what the types say:
//!
//! ```text
//!   Runs --- change ---> Stale --- flush ---> Runs         rights or output address of leaves, or a table for a block
//!    |                                         ^
//!    |                                         |
//!    `-- break_all --> BrokenRuns -- flush --> CleanRuns -- make
//! ```
//! Nothing can be changed again before the flush that the last change owes ([`arch::bbm`] presumes it), and what is
//! broken can only be flushed, and then made. Whether a change is one that needs no break is the rule's to say; debug
//! builds ask it of every store, and the model judges them all.
//!
//! Entries of one run stand next to one another, if need be in several tables. None is of a folded group: the kernel's
//! tree has none.
#![forbid(unsafe_code)]

use arch::addr::ENTRIES_PER_TABLE;
use arch::{Desc, DescTable, Level, Machine, PhysMem, VirtAddr};

use super::entry::Entry;
use super::flush::Flusher;
use super::root::PtRoot;
use super::walk::WalkStep;

/// Consecutive entries of one level.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Run {
    /// The first address that they translate; a multiple of what one of them does.
    pub first: VirtAddr,
    /// How many.
    pub entries: u64,
}

impl Run {
    /// One past the last address, where each entry translates `bytes`.
    #[must_use]
    pub fn end(&self, bytes: u64) -> VirtAddr {
        self.first.add(self.entries * bytes)
    }
}

/// A part of a run within one table, for who wants to be told of it: the first entry, how many were changed alike, and
/// what stood and stands in the first.
#[derive(Clone, Copy)]
pub struct Told<'e, 'l> {
    /// The first entry.
    pub entry: &'e Entry<'l>,
    /// Entries from it on.
    pub entries: u32,
    /// What it held.
    pub old: Desc,
    /// What it holds.
    pub new: Desc,
}

/// Runs of entries of a locked tree that owe no flush.
#[must_use]
pub struct Runs<'l, 'r> {
    tree: &'l mut PtRoot,
    flusher: Flusher<'l>,
    level: Level,
    runs: &'r [Run],
}

/// Runs that were changed. TLBs may hold what they were until the flush, which comes with the drop at the latest.
#[must_use = "what the entries were may be held by TLBs until it is flushed"]
pub struct Stale<'l, 'r> {
    runs: Runs<'l, 'r>,
    owed: OwedRuns<'l, 'r>,
}

/// The flush of runs, done when this is dropped, unless a panic unwinds.
struct OwedRuns<'l, 'r> {
    flusher: Flusher<'l>,
    level: Level,
    runs: &'r [Run],
}

impl Drop for OwedRuns<'_, '_> {
    fn drop(&mut self) {
        if !arch::unwinding() {
            self.flusher.flush_runs(self.level, self.runs);
        }
    }
}

/// Runs that are invalid, while TLBs may still hold what they were.
#[must_use = "broken entries must be flushed and made: until then their addresses have no translation"]
pub struct BrokenRuns<'l, 'r>(Stale<'l, 'r>);

/// Runs that are invalid, and no TLB holds what they were.
#[must_use = "clean entries must be made: until then their addresses have no translation"]
pub struct CleanRuns<'l, 'r>(Runs<'l, 'r>);

impl<'l, 'r> Runs<'l, 'r> {
    /// `runs` of `level` in `tree`. Tables lead to all of them.
    pub fn new(tree: &'l mut PtRoot, flusher: Flusher<'l>, level: Level, runs: &'r [Run]) -> Self {
        Runs { tree, flusher, level, runs }
    }

    /// These entries of them, which lie within them, alone.
    pub fn only<'n>(self, runs: &'n [Run]) -> Runs<'l, 'n> {
        Runs { tree: self.tree, flusher: self.flusher, level: self.level, runs }
    }

    /// The first run, and where the walk for it ends.
    #[must_use]
    pub fn first(&self) -> Option<(Run, WalkStep)> {
        self.runs.first().map(|run| (*run, self.tree.walk(run.first).last()))
    }

    /// Stores in every entry what `new` makes of it, in order: for each run it gives a function that is asked for one
    /// entry after the other. `told` hears of each part of a run.
    ///
    /// # Panics
    /// No table leads to an entry.
    pub fn change<F: FnMut(Desc) -> Desc>(
        mut self,
        new: impl FnMut(usize) -> F,
        told: impl FnMut(Told<'_, '_>),
    ) -> Stale<'l, 'r> {
        self.store(new, told);
        self.stale()
    }

    /// Makes every entry invalid.
    ///
    /// # Panics
    /// As [`Self::change`].
    pub fn break_all(mut self, told: impl FnMut(Told<'_, '_>)) -> BrokenRuns<'l, 'r> {
        let broken = self.store(|_| |_| Desc::INVALID, told);
        let first = self.runs.first().map_or(VirtAddr::new(0), |run| run.first);
        self.flusher.note_breaks(broken, (first, self.level));
        BrokenRuns(self.stale())
    }

    fn stale(self) -> Stale<'l, 'r> {
        let owed = OwedRuns { flusher: self.flusher, level: self.level, runs: self.runs };
        Stale { runs: self, owed }
    }

    /// Stores, and says how many.
    fn store<F: FnMut(Desc) -> Desc>(
        &mut self,
        mut new: impl FnMut(usize) -> F,
        mut told: impl FnMut(Told<'_, '_>),
    ) -> u64 {
        let (bytes, mut stores) = (self.level.entry_bytes(), 0);
        for (n, run) in self.runs.iter().enumerate() {
            let mut of_run = new(n);
            let (mut va, end) = (run.first, run.end(bytes));
            while va < end {
                let left = end.offset_from(va) / bytes;
                let here = left.min((ENTRIES_PER_TABLE - va.index(self.level)) as u64);
                let entry = match self.tree.entry(self.flusher, va, self.level) {
                    Ok(entry) => entry,
                    Err(missing) => panic!("no entry of level {} for {va}: {missing:?}", self.level),
                };
                let old = entry.desc();
                store_part(&entry, here as usize, &mut of_run);
                told(Told { entry: &entry, entries: here as u32, old, new: entry.desc() });
                stores += here;
                va = va.add(here * bytes);
            }
        }
        let first = self.runs.first().map_or(VirtAddr::new(0), |run| run.first);
        self.flusher.note_stores(stores, (first, self.level));
        stores
    }
}

/// Stores in `n` entries of one table, from `first` on.
#[inline]
fn store_part(first: &Entry<'_>, n: usize, new: &mut impl FnMut(Desc) -> Desc) {
    let (table, index) = (Machine::table(first.table()), first.va().index(first.level()));
    for k in 0..n {
        let desc = new(table.read(index + k));
        if cfg!(debug_assertions) {
            first.nth(k).verify(desc);
        }
        table.write(index + k, desc);
    }
}

impl<'l, 'r> Stale<'l, 'r> {
    /// Removes what the entries were from every TLB, and waits until no CPU uses it.
    pub fn flush(self) -> Runs<'l, 'r> {
        let Stale { runs, owed } = self;
        drop(owed);
        runs
    }
}

impl<'l, 'r> BrokenRuns<'l, 'r> {
    /// Removes what the entries were from every TLB, and waits until no CPU uses it.
    pub fn flush(self) -> CleanRuns<'l, 'r> {
        CleanRuns(self.0.flush())
    }
}

impl<'l, 'r> CleanRuns<'l, 'r> {
    /// Makes every entry, as [`Runs::change`] changes them. Nothing is owed: TLBs do not hold invalid descriptors.
    ///
    /// # Panics
    /// As [`Runs::change`].
    pub fn make<F: FnMut(Desc) -> Desc>(
        self,
        new: impl FnMut(usize) -> F,
        told: impl FnMut(Told<'_, '_>),
    ) -> Runs<'l, 'r> {
        let mut runs = self.0;
        let made = runs.store(new, told);
        let first = runs.runs.first().map_or(VirtAddr::new(0), |run| run.first);
        runs.flusher.note_makes(made, (first, runs.level));
        runs.flusher.publish();
        runs
    }
}
