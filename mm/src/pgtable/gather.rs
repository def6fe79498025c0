//! The owner of flush obligations.
//!
//! What is unmapped from a live tree goes through a [`Gather`]: it remembers which addresses must leave the
//! TLBs, holds the frames and tables that were mapped there, and gives them back only when no CPU can reach them
//! any more. When its batch is full it flushes and goes on.
#![forbid(unsafe_code)]

use arch::contract::Depth;
use arch::{PhysAddr, VirtAddr};

use super::flush::{FlushRange, FlushTag, Flusher};
use crate::Mm;
use crate::page::PageRef;

/// Frames held between two flushes.
const BATCH: usize = 120;

#[derive(Clone, Copy)]
enum Held {
    Folio(PageRef),
    Table(PhysAddr),
}

/// Owes a flush, and holds frames until it is done. Must be finished.
#[must_use = "a gather must be finished: it owes a flush"]
pub struct Gather<'m> {
    mm: &'m Mm,
    tag: FlushTag<'m>,
    owed: Option<FlushRange>,
    held: [Option<Held>; BATCH],
    len: usize,
}

impl<'m> Gather<'m> {
    /// An empty gather for the tree with this tag.
    pub fn new(mm: &'m Mm, tag: FlushTag<'m>) -> Self {
        Gather { mm, tag, owed: None, held: [None; BATCH], len: 0 }
    }

    /// Adds a range that must be flushed.
    pub(super) fn owe(&mut self, range: FlushRange) {
        self.owed = Some(match self.owed {
            None => range,
            Some(owed) => merge(owed, range),
        });
    }

    /// Takes over the mapping's reference to a folio; it is dropped after the flush.
    pub fn hold_folio(&mut self, head: PageRef) {
        self.hold(Held::Folio(head));
    }

    /// Takes over a table that is no longer linked; it is freed after the flush.
    pub fn hold_table(&mut self, table: PhysAddr) {
        self.hold(Held::Table(table));
    }

    fn hold(&mut self, item: Held) {
        if self.len == BATCH {
            self.settle();
        }
        self.held[self.len] = Some(item);
        self.len += 1;
    }

    /// Flushes, and frees what is held. The page-table lock may be held or not.
    pub fn finish(mut self) {
        self.settle();
    }

    fn settle(&mut self) {
        if let Some(range) = self.owed.take() {
            Flusher::new(self.tag, &self.mm.stats).flush(range);
        }
        for item in self.held[..self.len].iter_mut().filter_map(Option::take) {
            match item {
                Held::Folio(head) => self.mm.put_folio(head),
                Held::Table(table) => self.mm.free_table(table),
            }
        }
        self.len = 0;
    }
}

impl Drop for Gather<'_> {
    fn drop(&mut self) {
        assert!(self.owed.is_none() && self.len == 0, "a gather was dropped unfinished");
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
