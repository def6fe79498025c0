//! Many entries of one table that lose rights at once.
//!
//! ```text
//!   parent's table   [ w  w  w  r  .  w ... ]      each entry is looked at, and stored where it changes
//!                      |  |  |  |
//!   a copy           [ r  r  r  r           ]      LooseEntries: a table that no walker can reach
//! ```
//! A [`Tightening`] has the entries in hand for the length of a closure ([`Entry::tighten_many`]). What is known of one
//! entry need not be asked of the next: whoever fork copies for asks once a folio, and [`Tightening::share_alike`] does
//! the rest of its entries. Stores are counted, and one range is owed for all that changed, when the closure returns.
#![forbid(unsafe_code)]

use core::ops::Range;

use arch::addr::{ENTRIES_PER_TABLE, PAGE_SIZE};
use arch::contiguous::CONT_ENTRIES;
use arch::pte::PteFlags;
use arch::{Desc, DescTable, Machine, PhysMem};

use super::entry::Entry;
use super::flush::FlushRange;
use super::gather::Gather;
use super::table::LooseEntries;

type Table = <Machine as PhysMem>::Table;

/// Entries of one table of a live tree, under the tree's lock. See the [module](self).
pub struct Tightening<'t, 'l> {
    first: &'t Entry<'l>,
    table: Table,
    range: Range<usize>,
    /// From the first entry that was stored to the last one.
    changed: Range<usize>,
    stores: usize,
}

impl Entry<'_> {
    /// Gives `f` this entry and those that follow it in the same table, `count` in all, to be given fewer rights. The
    /// flush, one range for all, is owed to `gather` when `f` returns. Folded groups lie wholly among them: those that
    /// an end cuts are unfolded.
    ///
    /// # Panics
    /// The run leaves the table.
    pub fn tighten_many<R>(
        self,
        count: usize,
        gather: &mut Gather<'_>,
        f: impl FnOnce(&mut Tightening<'_, '_>) -> R,
    ) -> R {
        self.assert_run(count);
        let at = self.va().index(self.level());
        for cut in [at, at + count].into_iter().filter(|n| !n.is_multiple_of(CONT_ENTRIES)) {
            self.nth(cut.min(at + count - 1) - at).unfold();
        }
        let table = Machine::table(self.table());
        let mut entries = Tightening { first: &self, table, range: at..at + count, changed: 0..0, stores: 0 };
        let result = f(&mut entries);
        entries.finish(gather);
        result
    }
}

impl Tightening<'_, '_> {
    /// Their places in the table, 0..=511.
    #[must_use]
    #[inline]
    pub fn range(&self) -> Range<usize> {
        // The least of both, so that loops over it need not ask of each place whether the table has it.
        self.range.start..self.range.end.min(ENTRIES_PER_TABLE)
    }

    /// What stands in entry `n` of the table.
    #[must_use]
    #[inline]
    pub fn desc(&self, n: usize) -> Desc {
        self.table.read(n)
    }

    /// The first entry at or after `n` in which something stands; the end of the range where there is none.
    #[must_use]
    #[inline]
    pub fn next_used(&self, mut n: usize) -> usize {
        let end = self.range().end;
        while n < end && self.table.read(n) == Desc::INVALID {
            n += 1;
        }
        n
    }

    /// Gives entry `n` fewer rights. It is one of no folded group.
    #[inline]
    pub fn tighten(&mut self, n: usize, new: Desc) {
        debug_assert!(!new.is_contiguous(), "{new} alone loses rights, and its group keeps them");
        self.store(n, new);
        self.note(n..n + 1);
    }

    /// Makes the group of entry `n` plain. It is flushed when this returns.
    #[cold]
    pub fn unfold(&mut self, n: usize) {
        self.first.nth(n - self.first.va().index(self.first.level())).unfold();
    }

    /// Writes what entry `n` holds, `old`, to its place in `copy`, and to both without what `fewer` takes.
    #[inline]
    pub fn share(&mut self, n: usize, old: Desc, fewer: PteFlags, copy: &mut LooseEntries<'_>) {
        let shared = old.with_also(fewer);
        copy.write(n, shared);
        if shared != old {
            self.tighten(n, shared);
        }
    }

    /// As [`Self::share`], of the entries from `first` on, pages, that map consecutive frames with the same attributes
    /// as the first, whether they were accessed or not; at most `most` of them, 1 or more. Returns how many. A folded
    /// group that begins there is shared as a whole, and stays one.
    #[inline]
    pub fn share_alike(
        &mut self,
        first: usize,
        most: usize,
        fewer: PteFlags,
        copy: &mut LooseEntries<'_>,
    ) -> usize {
        let (mut next, mut n) = (self.desc(first).with_also(PteFlags::ACCESSED), first);
        let end = self.range().end.min(first.saturating_add(most));
        let (table, changes) = (self.table, next.with_also(fewer) != next);
        while n < end {
            let old = table.read(n);
            if old.with_also(PteFlags::ACCESSED) != next {
                break;
            }
            copy.write(n, old.with_also(fewer));
            if changes {
                self.store(n, old.with_also(fewer));
            }
            next = Desc::from_raw(next.raw() + PAGE_SIZE);
            n += 1;
        }
        if changes {
            self.note(first..n);
        }
        n - first
    }

    #[inline]
    fn store(&self, n: usize, new: Desc) {
        if cfg!(debug_assertions) {
            self.first.nth(n - self.first.va().index(self.first.level())).verify(new);
        }
        self.table.write(n, new);
    }

    /// These, above all that were noted before, have changed.
    #[inline]
    fn note(&mut self, more: Range<usize>) {
        let first = if self.stores == 0 { more.start } else { self.changed.start };
        self.changed = first..more.end;
        self.stores += more.len();
    }

    fn finish(self, gather: &mut Gather<'_>) {
        if self.stores == 0 {
            return;
        }
        let (va, level) = (self.first.va(), self.first.level());
        self.first.flusher().note_stores(self.stores as u64, (va, level));
        let nth = |n: usize| self.first.nth(n - self.range.start).leaf_range();
        let range = FlushRange { end: nth(self.changed.end - 1).end, ..nth(self.changed.start) };
        gather.owe(*self.first.flusher(), range);
    }
}
