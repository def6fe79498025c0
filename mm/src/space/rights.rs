//! What leaves become when the rights of their VMA change.
//!
//! A leaf gets all rights of the VMA, but for writing: that only where the leaf grants it already or the page is
//! exclusive ([`exclusive`]). Neighbours are mostly alike, so what was worked out for one leaf is kept for the next:
//! the new attributes follow from the old ones, and whether a folio is exclusive is asked once for a row of its pages.
//! All of it holds under M for writing and T, which the caller has for a stretch at a time; so [`Rights::begin`]
//! forgets the folio.
#![forbid(unsafe_code)]

use arch::pte::PteFlags;
use arch::{Desc, Level, PhysAddr};

use super::range::leaf_for;
use super::{Prot, exclusive};
use crate::Mm;
use crate::page::{PageKind, PageRef, page_of};
use crate::pgtable::change::{Change, Pattern, Row};

/// What follows from the bits of a leaf that are no address.
#[derive(Clone, Copy)]
struct Known {
    pattern: Pattern,
    asks: Asks,
}

/// Whether the page must be exclusive, or else does not get the right to write.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Asks {
    Yes,
    No,
}

/// Turns leaves of one level at a time into those of a VMA with these rights.
pub(super) struct Rights<'m> {
    mm: &'m Mm,
    prot: Prot,
    level: Level,
    known: Option<Known>,
    /// The one that was asked about last, if it has more than one leaf.
    folio: Asked,
}

/// A folio of more than one leaf, and what was said of it.
#[derive(Clone, Copy)]
struct Asked {
    /// Its first byte.
    start: u64,
    /// Its size; 0: there is none.
    bytes: u64,
    answer: Exclusive,
}

impl Asked {
    const NONE: Asked = Asked { start: 0, bytes: 0, answer: Exclusive::No };

    /// Whether this address is in the folio.
    #[inline(always)]
    fn has(&self, address: u64) -> bool {
        address.wrapping_sub(self.start) < self.bytes
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Exclusive {
    Yes,
    No,
}

impl<'m> Rights<'m> {
    pub(super) fn new(mm: &'m Mm, prot: Prot) -> Self {
        Rights { mm, prot, level: Level::L3, known: None, folio: Asked::NONE }
    }

    /// Leaves of `level` follow. T was let go since the last question.
    pub(super) fn begin(&mut self, level: Level) {
        self.folio = Asked::NONE;
        if self.level != level {
            (self.level, self.known) = (level, None);
        }
    }

    /// For what is rare: a frame is made ready for instruction fetches, each by itself.
    fn change_slowly(&mut self, old: Desc) -> Option<Desc> {
        let level = self.level;
        if !old.is_leaf(level) {
            return self.change_migration(old);
        }
        let new = exclusive::leaf_again(self.mm, old, level, self.prot);
        (new != old).then_some(new)
    }

    /// Works out what follows from this leaf.
    fn learn(&mut self, leaf: Desc) -> Known {
        let level = self.level;
        let (old, special) = (leaf.flags(level), leaf.flags(level) & PteFlags::SPECIAL);
        let mut new = exclusive::with_all_rights(leaf, level, self.prot).flags(level);
        let gains = old.contains(PteFlags::READ_ONLY) && !new.contains(PteFlags::READ_ONLY);
        let asks = if gains && special.is_empty() { Asks::Yes } else { Asks::No };
        if gains && !special.is_empty() {
            new |= PteFlags::READ_ONLY;
        }
        let address = Desc::from_raw(u64::MAX).output(level).raw();
        // A folded group stays one.
        let change = (leaf.raw() ^ leaf.with_flags(level, new).raw()) & !PteFlags::CONTIGUOUS.bits();
        let known = Known { pattern: Pattern { address, bits: leaf.raw() & !address, change }, asks };
        self.known = Some(known);
        known
    }

    /// Whether the page of this leaf, which is not special, is the space's alone.
    fn is_exclusive(&mut self, leaf: Desc) -> bool {
        let page = page_of(leaf.output(self.level).pfn());
        let known = self.folio.has(page.pfn().phys().raw());
        let answer = if known { self.folio.answer } else { self.ask(page) };
        answer == Exclusive::Yes
    }

    fn ask(&mut self, page: PageRef) -> Exclusive {
        let head = page.head(self.mm.config.tails);
        let answer = if exclusive::is_exclusive(self.mm, head) { Exclusive::Yes } else { Exclusive::No };
        let (start, bytes) = (head.pfn().phys().raw(), head.order().bytes());
        let several = bytes > self.level.entry_bytes();
        self.folio = if several { Asked { start, bytes, answer } } else { Asked::NONE };
        answer
    }

    /// The rights that a frame will have when it has moved; no right to write where there was none.
    fn change_migration(&self, entry: Desc) -> Option<Desc> {
        let level = self.level;
        let old = entry.as_migration(level)?;
        let no_write = old.flags & PteFlags::READ_ONLY;
        let new = old.with_flags(leaf_for(self.mm, old.output, level, self.prot).flags(level) | no_write);
        (new != old).then(|| new.desc(level))
    }
}

impl Change for Rights<'_> {
    fn one(&mut self, old: Desc) -> Option<Desc> {
        let Known { pattern, asks } = match self.known {
            Some(known) if known.pattern.is_of(old) => known,
            _ if old.is_leaf(self.level) && !self.prot.contains(Prot::EXEC) => self.learn(old),
            _ => return self.change_slowly(old),
        };
        let refused = asks == Asks::Yes && !self.is_exclusive(old);
        let change = if refused { pattern.change & !PteFlags::READ_ONLY.bits() } else { pattern.change };
        (change != 0).then(|| Desc::from_raw(old.raw() ^ change))
    }

    fn like_it(&self, row: Row<'_, '_>) -> usize {
        match self.known {
            None => 0,
            Some(Known { pattern, .. }) if !pattern.is_plain() => 0,
            Some(Known { pattern, asks: Asks::No }) => row.while_of(pattern, |_| true),
            Some(Known { pattern, .. }) if self.folio.answer == Exclusive::Yes => {
                row.while_of(pattern, |leaf| self.folio.has(leaf.raw() & pattern.address))
            }
            Some(Known { pattern, .. }) => row.while_of(pattern, |leaf| is_alone(leaf, pattern)),
        }
    }
}

/// Whether the page of this leaf, single or a head, has no reference but the leaf's. A tail has none of its own.
#[inline(always)]
fn is_alone(leaf: Desc, pattern: Pattern) -> bool {
    let page = page_of(PhysAddr::new(leaf.output(Level::L3).raw() & pattern.address).pfn());
    page.refcount() == 1 && (page.is_of(PageKind::Anon) || page.is_of(PageKind::Hugetlb))
}
