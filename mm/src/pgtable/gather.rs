//! The owner of flush obligations.
//!
//! What is unmapped from a live tree goes through a [`Gather`]: it remembers which addresses must leave the
//! TLBs, holds the frames and tables that were mapped there, and gives them back only when no CPU can reach them
//! any more. When its batch is full it flushes and goes on.
//!
//! A gather exists for the length of a closure only ([`Mm::gather`]), which sees it by reference: it can be
//! neither dropped nor forgotten nor kept, and is finished when the closure returns, whatever that returns.
//! Nothing is asserted at run time: if the closure unwinds, what was held is lost and so never used again.
//!
//! ```text
//!   mm.gather(tag, |gather| {          closure        gather's lifetime 'g: no other gather has it
//!       let old = entry.clear(gather);  Unmapped<'g>   only this gather takes it,
//!       gather.hold(old);                              and only after its flush the frame is anybody's again
//!   })                                  flush, free
//! ```
#![forbid(unsafe_code)]

use core::marker::PhantomData;

use arch::contract::Depth;
use arch::pte::Kind;
use arch::{PhysAddr, VirtAddr};

use super::flush::{FlushRange, FlushTag, Flusher};
use super::table::LooseTable;
use super::unlinked::{Displaced, Old, Unmapped};
use crate::Mm;
use crate::page::{FolioRef, PageRef, SinglePages};

/// Frames held between two flushes.
const BATCH: usize = 120;

/// A mark that ties values to one gather: lifetimes of different closures are never equal, nor one a part of the
/// other, as the mark is invariant.
pub(super) type Brand<'g> = PhantomData<fn(&'g ()) -> &'g ()>;

#[derive(Clone, Copy)]
enum Held {
    /// So many references to one folio.
    Folio(PageRef, u32),
    /// One reference to each of so many single pages in a row.
    Pages(PageRef, u32),
    Table(PhysAddr),
}

/// Owes a flush, and holds frames until it is done. See the [module](self).
pub struct Gather<'g> {
    mm: &'g Mm,
    tag: FlushTag<'g>,
    owed: Option<FlushRange>,
    held: [Option<Held>; BATCH],
    len: usize,
    brand: Brand<'g>,
}

impl Mm {
    /// Gives `f` a gather for the tree with this tag. When `f` returns, the gather flushes what it owes, and frees
    /// what it holds. The page-table lock may be held or not.
    pub fn gather<R>(&self, tag: FlushTag<'_>, f: impl for<'g> FnOnce(&mut Gather<'g>) -> R) -> R {
        let mut gather =
            Gather { mm: self, tag, owed: None, held: [None; BATCH], len: 0, brand: PhantomData };
        let result = f(&mut gather);
        gather.settle();
        result
    }

    /// Gives up what entries held that were broken and flushed, at once: no gather is needed for what no TLB holds.
    pub fn give_up<const N: usize>(&self, displaced: Displaced<N>) {
        for old in displaced.each() {
            match old.kind() {
                Kind::Table => self.free_table(LooseTable::from_flushed(old.output())),
                Kind::Block | Kind::Page | Kind::Invalid => {
                    if let Some(head) = old.folio(self) {
                        self.put_folio(FolioRef::from_raw(head));
                    }
                }
            }
        }
    }
}

impl<'g> Gather<'g> {
    /// Takes over what an entry held: the reference to a folio, or the table; or what a run of entries held that mapped
    /// pages of one folio. It is given up after the flush. Nothing is taken over where the entry was invalid or
    /// special.
    pub fn hold(&mut self, unmapped: Unmapped<'g>) {
        self.take(unmapped.old, unmapped.entries());
    }

    /// As [`Self::hold`], for what entries held that were broken: they are flushed already.
    pub fn hold_displaced<const N: usize>(&mut self, displaced: Displaced<N>) {
        displaced.each().for_each(|old| self.take(old, 1));
    }

    /// Adds a range that must be flushed, of the tree for which `flusher` flushes.
    pub(super) fn owe(&mut self, flusher: Flusher<'_>, range: FlushRange) {
        debug_assert!(flusher.is_for(self.tag), "the entry at {} is of another tree", range.start);
        self.owed = Some(match self.owed {
            None => range,
            Some(owed) => merge(owed, range),
        });
    }

    fn take(&mut self, old: Old, entries: u32) {
        match old.kind() {
            Kind::Table => self.push(Held::Table(old.output())),
            Kind::Block | Kind::Page | Kind::Invalid => {
                if let Some(head) = old.folio(self.mm) {
                    self.take_folio(head, entries);
                }
            }
        }
    }

    /// References to a folio; to a single page beside those that came last, with them.
    #[inline]
    fn take_folio(&mut self, head: PageRef, references: u32) {
        let last = self.len.checked_sub(1).and_then(|last| self.held[last].as_mut());
        let single = references == 1 && !head.is_folio();
        match last {
            Some(Held::Folio(same, held)) if *same == head && !single => *held += references,
            Some(Held::Pages(first, held)) if single && head == first.nth(u64::from(*held)) => *held += 1,
            Some(Held::Pages(first, held)) if single && head.nth(1) == *first => {
                (*first, *held) = (head, *held + 1);
            }
            _ if single => self.push(Held::Pages(head, 1)),
            _ => self.push(Held::Folio(head, references)),
        }
    }

    fn push(&mut self, item: Held) {
        if self.len == BATCH {
            self.settle();
        }
        self.held[self.len] = Some(item);
        self.len += 1;
    }

    /// Flushes what is owed, and gives up what is held.
    pub(super) fn settle(&mut self) {
        if let Some(range) = self.owed.take() {
            Flusher::new(self.tag, &self.mm.stats).flush(range);
        }
        for item in self.held[..self.len].iter_mut().filter_map(Option::take) {
            match item {
                Held::Folio(head, references) => self.mm.put_references(head, references),
                Held::Pages(first, n) => self.mm.put_pages(SinglePages::from_raw(first, n.into())),
                Held::Table(table) => self.mm.free_table(LooseTable::from_flushed(table)),
            }
        }
        self.len = 0;
    }
}

fn merge(a: FlushRange, b: FlushRange) -> FlushRange {
    let leaf_only = a.depth == Depth::LeafOnly && b.depth == Depth::LeafOnly;
    FlushRange {
        start: VirtAddr::new(a.start.raw().min(b.start.raw())),
        end: VirtAddr::new(a.end.raw().max(b.end.raw())),
        level: if a.level == b.level { a.level } else { None },
        depth: if leaf_only { Depth::LeafOnly } else { Depth::AllLevels },
    }
}
