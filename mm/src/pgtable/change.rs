//! Leaves of one table that get other rights, many of them in the same way.
//!
//! ```text
//!   descriptor   | attributes | address | attributes |
//!   a pattern    |     =      |   any   |     =      |   --> the same bits change in each: one exclusive or
//! ```
//! Who changes a stretch works out what becomes of one leaf, and says which others are of its kind. Those are changed
//! by a loop that asks nothing else. The members of a folded group change together ([`super::fold`]).
#![forbid(unsafe_code)]

use core::array;
use core::ops::Range;

use arch::addr::ENTRIES_PER_TABLE;
use arch::contiguous::CONT_ENTRIES;
use arch::{Desc, DescTable, Machine, PhysMem};

use super::folded::STEP_BY_STEP;
use super::gather::Gather;
use super::stretch::Stretch;

/// Leaves that differ in their address alone, and what changes in each.
#[derive(Clone, Copy)]
pub struct Pattern {
    /// The bits of a descriptor that are an address.
    pub address: u64,
    /// All others.
    pub bits: u64,
    /// Those of them that change.
    pub change: u64,
}

impl Pattern {
    /// Whether it is one of them.
    #[must_use]
    #[inline(always)]
    pub fn is_of(&self, leaf: Desc) -> bool {
        leaf.raw() & !self.address == self.bits
    }
    /// Whether a store for each of them is all that it takes: no folded group has to be unfolded.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        self.change != 0 && (!self.is_folded() || self.change & !STEP_BY_STEP == 0)
    }
    fn is_folded(&self) -> bool {
        Desc::from_raw(self.bits).is_contiguous()
    }
}

/// What becomes of the entries of a stretch.
pub trait Change {
    /// What takes the place of `old`; `None`: it stays.
    fn one(&mut self, old: Desc) -> Option<Desc>;
    /// Changes leaves that follow in the same way as that one, for as long as they are known to, by [`Row::while_of`].
    /// Returns how many.
    fn like_it(&self, row: Row<'_, '_>) -> usize;
}

type Table = <Machine as PhysMem>::Table;

/// The entries after one that was changed.
#[derive(Clone, Copy)]
pub struct Row<'s, 'l> {
    stretch: &'s Stretch<'l>,
    first: usize,
}

impl Row<'_, '_> {
    /// Changes those that follow as the pattern says, up to one that is not of it, or of which `goes_along` does not
    /// say that it is known to change in this way. Returns how many.
    #[inline(always)]
    pub fn while_of(self, pattern: Pattern, goes_along: impl Fn(Desc) -> bool) -> usize {
        let (table, at) = self.stretch.place();
        let (table, end) = (Machine::table(table), ENTRIES_PER_TABLE.min(at + self.stretch.len()));
        let alike = |old: Desc| pattern.is_of(old) && goes_along(old);
        let row = at + self.first..end;
        if pattern.is_folded() {
            self.groups(table, row, pattern, alike)
        } else {
            self.singles(table, row, pattern, alike)
        }
    }

    #[inline(always)]
    fn singles(
        self,
        table: Table,
        row: Range<usize>,
        pattern: Pattern,
        alike: impl Fn(Desc) -> bool,
    ) -> usize {
        let mut n = row.start;
        while n < row.end {
            let old = table.read(n);
            if !alike(old) {
                break;
            }
            self.store(table, n, old, pattern);
            n += 1;
        }
        n - row.start
    }

    /// All 16 members of a group, or none.
    #[inline(always)]
    fn groups(
        self,
        table: Table,
        row: Range<usize>,
        pattern: Pattern,
        alike: impl Fn(Desc) -> bool,
    ) -> usize {
        let mut n = row.start;
        while n.is_multiple_of(CONT_ENTRIES) && n + CONT_ENTRIES <= row.end {
            let old: [Desc; CONT_ENTRIES] = array::from_fn(|m| table.read(n + m));
            if !old.iter().all(|&old| alike(old)) {
                break;
            }
            (0..CONT_ENTRIES).for_each(|m| self.store(table, n + m, old[m], pattern));
            n += CONT_ENTRIES;
        }
        n - row.start
    }

    #[inline(always)]
    fn store(self, table: Table, n: usize, old: Desc, pattern: Pattern) {
        let new = Desc::from_raw(old.raw() ^ pattern.change);
        self.stretch.verify_at(n, new);
        table.write(n, new);
    }
}

impl Stretch<'_> {
    /// Changes every entry as `change` says, to what a TLB may go on taking for what it was until the flush, one range
    /// for all, that is owed to `gather`.
    pub fn change(&mut self, gather: &mut Gather<'_>, change: &mut impl Change) {
        let (mut stores, mut first, mut end, mut n) = (0, self.len(), 0, 0);
        while n < self.len() {
            let old = self.desc(n);
            if old.is_contiguous() {
                let count = self.len() - n;
                n += self.entry(n).tighten_folded(count, gather, |_, old| change.one(old));
            } else if let Some(new) = change.one(old) {
                self.put(n, new);
                (stores, first, end) = (stores + 1, first.min(n), n + 1);
                n += 1;
            } else {
                n += 1;
                continue;
            }
            let row = change.like_it(Row { stretch: self, first: n });
            if row != 0 {
                (stores, first, end) = (stores + row, first.min(n), n + row);
                n += row;
            }
        }
        if stores != 0 {
            self.flusher().note_stores(stores as u64, (self.entry(0).va(), self.level()));
            self.owe(first, end - 1, gather);
        }
    }
}
