//! What leaves become when the rights of their VMA change.
//!
//! A leaf gets all rights of the VMA, but for writing: that only where the leaf grants it already or the page is
//! exclusive ([`exclusive`]). Neighbours are mostly alike, so what was worked out for one leaf is kept for the next: the
//! new attributes follow from the old ones, and whether a folio is exclusive is asked once for a row of its pages. All
//! of it holds under M for writing and T, which the caller has for a stretch at a time; so [`Rights::change`] forgets
//! folios with each new stretch.
#![forbid(unsafe_code)]

use arch::pte::PteFlags;
use arch::{Desc, Level, Order, Pfn};

use super::range::leaf_for;
use super::{Prot, exclusive};
use crate::Mm;
use crate::page::{PageKind, PageRef, page_of};

/// What follows from the bits of a leaf that are no address.
#[derive(Clone, Copy)]
struct Known {
    level: Level,
    /// The bits of a descriptor of this level that are an address.
    address: u64,
    /// All others.
    old: u64,
    /// Those of them that change.
    change: u64,
    asks: Asks,
}

/// Whether the page must be exclusive, or else does not get the right to write.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Asks {
    Yes,
    No,
}

/// Turns leaves into those of a VMA with these rights.
pub(super) struct Rights<'m> {
    mm: &'m Mm,
    prot: Prot,
    known: Option<Known>,
    /// The folio of more than one page that was asked about last: first frame, and whether it is exclusive.
    folio: Option<(Pfn, Order, Exclusive)>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Exclusive {
    Yes,
    No,
}

impl<'m> Rights<'m> {
    pub(super) fn new(mm: &'m Mm, prot: Prot) -> Self {
        Rights { mm, prot, known: None, folio: None }
    }

    /// T was let go since the last question.
    pub(super) fn forget_folio(&mut self) {
        self.folio = None;
    }

    /// What takes the place of `old`; `None`: it stays.
    #[inline]
    pub(super) fn change(&mut self, old: Desc, level: Level) -> Option<Desc> {
        let (change, asks) = match &self.known {
            Some(known) if old.raw() & !known.address == known.old && known.level == level => {
                (known.change, known.asks)
            }
            _ if old.is_leaf(level) && !self.prot.contains(Prot::EXEC) => self.learn(old, level),
            _ => return self.change_slowly(old, level),
        };
        let refused = asks == Asks::Yes && !self.is_exclusive(old, level);
        let change = if refused { change & !PteFlags::READ_ONLY.bits() } else { change };
        (change != 0).then(|| Desc::from_raw(old.raw() ^ change))
    }

    /// For what is rare: a frame is made ready for instruction fetches, each by itself.
    fn change_slowly(&mut self, old: Desc, level: Level) -> Option<Desc> {
        if !old.is_leaf(level) {
            return self.change_migration(old, level);
        }
        let new = exclusive::leaf_again(self.mm, old, level, self.prot);
        (new != old).then_some(new)
    }

    /// Works out what follows from this leaf.
    fn learn(&mut self, leaf: Desc, level: Level) -> (u64, Asks) {
        let (old, special) = (leaf.flags(level), leaf.flags(level) & PteFlags::SPECIAL);
        let mut new = exclusive::with_all_rights(leaf, level, self.prot).flags(level);
        let gains = old.contains(PteFlags::READ_ONLY) && !new.contains(PteFlags::READ_ONLY);
        let asks = if gains && special.is_empty() { Asks::Yes } else { Asks::No };
        if gains && !special.is_empty() {
            new |= PteFlags::READ_ONLY;
        }
        let address = Desc::from_raw(u64::MAX).output(level).raw();
        let change = leaf.raw() ^ leaf.with_flags(level, new).raw();
        self.known = Some(Known { level, address, old: leaf.raw() & !address, change, asks });
        (change, asks)
    }

    /// Whether the page of this leaf, which is not special, is the space's alone.
    #[inline]
    fn is_exclusive(&mut self, leaf: Desc, level: Level) -> bool {
        let page = page_of(leaf.output(level).pfn());
        // The one reference is this leaf's. A tail has none.
        page.refcount() == 1 && page.kind() == PageKind::Anon || self.ask(page) == Exclusive::Yes
    }

    fn ask(&mut self, page: PageRef) -> Exclusive {
        if let Some((first, order, answer)) = self.folio
            && page.pfn() >= first
            && page.pfn() < first.add(order.pages())
        {
            return answer;
        }
        let head = page.head(self.mm.config.tails);
        let answer = if exclusive::is_exclusive(self.mm, head) { Exclusive::Yes } else { Exclusive::No };
        if head.order() != Order::PAGE {
            self.folio = Some((head.pfn(), head.order(), answer));
        }
        answer
    }

    /// The rights that a frame will have when it has moved; no right to write where there was none.
    fn change_migration(&self, entry: Desc, level: Level) -> Option<Desc> {
        let old = entry.as_migration(level)?;
        let no_write = old.flags & PteFlags::READ_ONLY;
        let new = old.with_flags(leaf_for(self.mm, old.output, level, self.prot).flags(level) | no_write);
        (new != old).then(|| new.desc(level))
    }
}
