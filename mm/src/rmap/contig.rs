//! Memory in one piece, by moving away what is in it: larger than any free block, or where none is left.
//!
//! ```text
//!   isolate   what is free in the range goes off the free lists, what becomes free is kept off them
//!   evacuate  reservations are released, folios move to frames outside, large ones are split where there is no room;
//!             free folios of the hugetlb pools are replaced by others
//!   take      when every page of the range is free: one block; else everything returns to the free lists
//! ```
//! **Guarantee.** All or nothing: where it fails no page is lost, though some have moved. Nobody gets a page of the range
//! meanwhile, so it becomes emptier with each turn. What cannot be moved (kernel memory, tables, struct pages, pinned
//! folios, free hugetlb folios of 32 MiB and 1 GiB) makes a range impossible, and another is tried (Linux:
//! `alloc_contig_range`, `isolate_or_dissolve_huge_folio`).
#![forbid(unsafe_code)]

use core::fmt;

use arch::{Order, Pfn};

use super::migrate::Refused;
use super::movable::{Obstacle, evacuate, obstacle};
use crate::Mm;
use crate::boot::Frames;
use crate::config::ReserveReclaim;
use crate::page::{FolioRef, PageKind};
use crate::stats::Counter;
use crate::thp::reclaim;
use crate::trace::Point;

/// Turns over one range, while what is in it stays for a reason that may pass.
const TURNS: usize = 4;
/// Ranges that are tried before a request by size alone fails.
const RANGES: usize = 8;

/// Why a range was not given out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ContigError {
    /// The range is not naturally aligned, not all RAM, or larger than any folio can be.
    Range,
    /// What this frame holds cannot be moved.
    Fixed(Pfn),
    /// What this frame holds was in use all the time, for this reason.
    InUse(Pfn, Refused),
    /// So much memory is not free, here and elsewhere together.
    Memory,
    /// No range of this size can become free.
    Nowhere,
}

impl fmt::Display for ContigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ContigError::Range => f.write_str("no such range of memory"),
            ContigError::Fixed(pfn) => write!(f, "what frame {pfn} holds cannot be moved"),
            ContigError::InUse(pfn, why) => write!(f, "what frame {pfn} holds stays there: {why}"),
            ContigError::Memory => f.write_str("not so much memory is free"),
            ContigError::Nowhere => f.write_str("no range of this size can be emptied"),
        }
    }
}

impl Mm {
    /// The 2^`order` pages from `first`, naturally aligned, up to 1 GiB: as [`Self::alloc_pages`] gives a block, of
    /// `kind`. May sleep; the caller holds no spinlock. Given back by [`Self::free_pages`].
    ///
    /// # Errors
    /// [`ContigError`]; nobody has lost anything.
    pub fn alloc_contig_at(&self, first: Pfn, order: Order, kind: PageKind) -> Result<FolioRef, ContigError> {
        let range = Frames::new(first, order.pages());
        let whole = self.ram().iter().any(|bank| bank.meet(range) == range);
        if order > Order::PUD || !first.is_aligned(order) || !whole {
            return Err(ContigError::Range);
        }
        let _one = self.rmap.isolating.write(self.env);
        let result = self.stats.slice(
            Point::Contig,
            (0, || [first.raw(), order.raw().into(), 0, 0]),
            |result: &Result<_, _>| (result.is_ok().into(), [result.is_ok().into(), 0, 0, 0]),
            || self.try_range(range, order, kind),
        );
        if result.is_err() {
            self.stats.inc(Counter::AllocContigFail);
        }
        result
    }

    /// As [`Self::alloc_contig_at`], wherever it costs least: of fewer than 512 pages in a free block or, with
    /// `reserve_reclaim=lru`, a partially populated reservation; and else where it is found first, from the top of
    /// memory down.
    ///
    /// # Errors
    /// [`ContigError::Nowhere`], or the last range's.
    pub fn alloc_contig(&self, order: Order, kind: PageKind) -> Result<FolioRef, ContigError> {
        if let Some(block) = self.take_run(order, kind) {
            let made = |block: &FolioRef| (1, [block.pfn().raw(), 1, 0, 0]);
            return Ok(self
                .stats
                .slice(Point::Contig, (0, || [0, order.raw().into(), 0, 0]), made, || block));
        }
        let mut last = ContigError::Nowhere;
        let mut tried = 0;
        for bank in self.ram().iter().rev() {
            let mut start = bank.end.align_down(order);
            while tried < RANGES && start.raw() >= bank.start.raw() + order.pages() {
                start = Pfn::new(start.raw() - order.pages());
                if is_hopeless(self, Frames::new(start, order.pages()), order) {
                    continue;
                }
                tried += 1;
                match self.alloc_contig_at(start, order, kind) {
                    Ok(block) => return Ok(block),
                    Err(why) => last = why,
                }
            }
        }
        Err(last)
    }

    /// A block of fewer than 512 pages for which nothing has to move.
    fn take_run(&self, order: Order, kind: PageKind) -> Option<FolioRef> {
        if order >= Order::PMD {
            return None;
        }
        loop {
            if let Some(block) = self.alloc_free_block(order, kind) {
                return Some(block);
            }
            if self.thp.reserve_reclaim() == ReserveReclaim::All || reclaim::break_for_run(self, order) == 0 {
                return None;
            }
        }
    }

    /// The range, with the right to isolate one.
    fn try_range(&self, range: Frames, order: Order, kind: PageKind) -> Result<FolioRef, ContigError> {
        if let Some(pfn) = first_fixed(self, range) {
            return Err(ContigError::Fixed(pfn));
        }
        // Every page of the range is taken from the free ones, here or where something moves to.
        let needed = range.len() + self.watermarks().min;
        self.reclaim(needed.saturating_sub(self.free_page_count()));
        if self.free_page_count() < needed {
            return Err(ContigError::Memory);
        }
        let isolation = self.isolate(range.start, order).ok_or(ContigError::Range)?;
        let mut why = ContigError::Nowhere;
        for _ in 0..TURNS {
            match evacuate(self, range) {
                Ok(()) => {}
                Err((pfn, Refused::Kind)) => return Err(ContigError::Fixed(pfn)),
                Err((pfn, refused)) => why = ContigError::InUse(pfn, refused),
            }
            if isolation.is_complete() {
                return isolation.take(kind).ok_or(why);
            }
        }
        Err(why)
    }
}

/// The first frame of the range that holds what cannot be moved.
fn first_fixed(mm: &Mm, range: Frames) -> Option<Pfn> {
    range.iter().find(|&pfn| obstacle(mm, pfn) == Obstacle::Fixed)
}

/// Whether it is in vain to empty the range for a block of this order: what it holds cannot be moved, or is a folio in
/// place of which another block as large would be needed.
fn is_hopeless(mm: &Mm, range: Frames, wanted: Order) -> bool {
    range.iter().any(|pfn| match obstacle(mm, pfn) {
        Obstacle::Fixed => true,
        Obstacle::Pooled(order) => order >= wanted,
        Obstacle::Nothing | Obstacle::Reservation | Obstacle::Movable => false,
    })
}
