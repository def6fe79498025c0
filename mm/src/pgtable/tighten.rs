//! Leaves of one table that get other rights, many of them in the same way.
//!
//! ```text
//!   descriptor   | attributes | address | attributes |
//!   a pattern    |     =      |   any   |     =      |   --> the same bits change in each: one exclusive or
//! ```
//! Who changes a stretch works out what becomes of one leaf, and says which others are of its kind. Those are changed by
//! a loop that asks nothing else.
#![forbid(unsafe_code)]

use arch::Desc;

use super::gather::Gather;
use super::stretch::Stretch;

/// Leaves that differ in their address alone, and what changes in each.
#[derive(Clone, Copy)]
pub struct Pattern {
    /// The bits of a descriptor that are an address.
    pub address: u64,
    /// All others.
    pub bits: u64,
    /// Those of them that change. Not 0.
    pub change: u64,
}

impl Pattern {
    /// Whether it is one of them.
    #[must_use]
    #[inline(always)]
    pub fn is_of(&self, leaf: Desc) -> bool {
        leaf.raw() & !self.address == self.bits
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

/// The entries after one that was changed.
pub struct Row<'s, 'l> {
    stretch: &'s Stretch<'l>,
    first: usize,
}

impl Row<'_, '_> {
    /// Changes those that follow as the pattern says, up to one that is not of it, or of which `goes_along` does not say
    /// that it is known to change in this way. Returns how many.
    #[inline(always)]
    pub fn while_of(self, pattern: Pattern, goes_along: impl Fn(Desc) -> bool) -> usize {
        let Row { stretch, first } = self;
        stretch.replace(first, |_, old| {
            let like = pattern.is_of(old) && goes_along(old);
            like.then(|| Desc::from_raw(old.raw() ^ pattern.change))
        })
    }
}

impl Stretch<'_> {
    /// Changes every entry as `change` says, to what a TLB may go on taking for what it was until the flush, one range for
    /// all, that is owed to `gather`.
    pub fn change(&mut self, gather: &mut Gather<'_>, change: &mut impl Change) {
        let (mut stores, mut first, mut end, mut n) = (0, self.len(), 0, 0);
        while n < self.len() {
            if self.replace_one(n, |old| change.one(old)) {
                let next = n + 1;
                let next = next + change.like_it(Row { stretch: self, first: next });
                (stores, first, end) = (stores + next - n, first.min(n), next);
                n = next;
            } else {
                n += 1;
            }
        }
        if stores != 0 {
            self.flusher().count_stores(stores as u64);
            self.owe(first, end - 1, gather);
        }
    }
}
