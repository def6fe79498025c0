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
use crate::pgtable::normal_page;

/// What follows from the attributes of a leaf.
#[derive(Clone, Copy)]
struct Known {
    level: Level,
    old: PteFlags,
    new: PteFlags,
    asks: Asks,
}

/// Whether the page must be exclusive, or else loses the right to write.
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
    pub(super) fn change(&mut self, old: Desc, level: Level) -> Option<Desc> {
        if !old.is_leaf(level) {
            return self.change_migration(old, level);
        }
        if self.prot.contains(Prot::EXEC) {
            // Each frame is made ready for instruction fetches.
            let new = exclusive::leaf_again(self.mm, old, level, self.prot);
            return (new != old).then_some(new);
        }
        let flags = old.flags(level);
        let known = match self.known {
            Some(known) if known.old == flags && known.level == level => known,
            _ => self.learn(old, level),
        };
        let refused = known.asks == Asks::Yes && self.ask(old, level) == Exclusive::No;
        let new = if refused { known.new | PteFlags::READ_ONLY } else { known.new };
        (new != flags).then(|| old.with_flags(level, new))
    }

    /// Works out what follows from the attributes of this leaf.
    fn learn(&mut self, leaf: Desc, level: Level) -> Known {
        let old = leaf.flags(level);
        let new = leaf_for(self.mm, leaf.output(level), level, self.prot).flags(level);
        let new = new | (old & PteFlags::SPECIAL);
        let gains = old.contains(PteFlags::READ_ONLY) && !new.contains(PteFlags::READ_ONLY);
        let known = Known { level, old, new, asks: if gains { Asks::Yes } else { Asks::No } };
        self.known = Some(known);
        known
    }

    /// Whether the page of this leaf is the space's alone.
    fn ask(&mut self, leaf: Desc, level: Level) -> Exclusive {
        let Some(page) = normal_page(leaf, level) else { return Exclusive::No };
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
