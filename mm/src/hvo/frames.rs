//! The frames behind a folio's vmemmap, as runs of consecutive ones.
//!
//! Those that boot took lie side by side, and those that a restore takes nearly so: the largest blocks that are to be
//! had, cut into single pages. So 4095 frames are a few runs, or, where memory is in pieces, at worst 4095.
#![forbid(unsafe_code)]

use allocator_api2::vec::Vec;
use arch::addr::PAGE_SIZE;
use arch::{Order, Pfn, PhysAddr};

use crate::Mm;
use crate::buddy::MAX_ORDER;
use crate::error::OutOfMemory;
use crate::kalloc::KAlloc;
use crate::page::{FolioRef, PageKind, page_of, tails};

/// Frames, in the order in which entries map them.
#[derive(Debug)]
pub(super) struct Frames {
    pieces: Vec<Piece, KAlloc>,
    len: u64,
}

/// Fewer frames than these are taken one by one: a block for them would take a larger one apart.
const FEW: u64 = 8;

/// Consecutive frames.
#[derive(Clone, Copy, Debug)]
struct Piece {
    first: Pfn,
    pages: u64,
}

impl Frames {
    pub(super) const NONE: Frames = Frames { pieces: Vec::new_in(KAlloc), len: 0 };

    /// Adds `pages` frames from `first` on.
    pub(super) fn push(&mut self, first: Pfn, pages: u64) -> Result<(), OutOfMemory> {
        self.len += pages;
        if let Some(last) = self.pieces.last_mut()
            && last.first.add(last.pages) == first
        {
            last.pages += pages;
            return Ok(());
        }
        self.pieces.try_reserve(1).map_err(|_| OutOfMemory)?;
        self.pieces.push(Piece { first, pages });
        Ok(())
    }

    /// How many.
    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// The frames one by one.
    pub(super) fn iter(&self) -> Iter<'_> {
        Iter { at: 0, end: 0, rest: self.pieces.iter() }
    }

    /// Takes `n` single pages, or none.
    pub(super) fn alloc(mm: &Mm, n: u64) -> Result<Frames, OutOfMemory> {
        let mut frames = Frames::NONE;
        if frames.pieces.try_reserve(n.min(FEW) as usize).is_err() {
            return Err(OutOfMemory);
        }
        // A few come from this CPU's list, where those of another folio may have gone.
        let mut order = if n < FEW { Order::PAGE } else { MAX_ORDER };
        while frames.len < n {
            order = order.min(Order::new((n - frames.len).ilog2() as u8));
            match take(mm, order) {
                Some(first) => {
                    let pages = order.pages();
                    if frames.push(first, pages).is_err() {
                        frames.len -= pages;
                        give(mm, first, pages);
                        frames.free(mm);
                        return Err(OutOfMemory);
                    }
                }
                None if order > Order::PAGE => order = Order::new(order.raw() - 1),
                None => {
                    frames.free(mm);
                    return Err(OutOfMemory);
                }
            }
        }
        Ok(frames)
    }

    /// Makes them pages of pristine tails that hold `info`.
    pub(super) fn fill(&self, info: u64) {
        self.pieces.iter().for_each(|piece| tails::write_pages(piece.first.phys(), piece.pages, info));
    }

    /// Gives the pages to the buddy allocator: no entry maps them, and no TLB holds one that did.
    // Walk B.8: the freed vmemmap pages return to the buddy allocator.
    pub(super) fn free(self, mm: &Mm) {
        self.pieces.iter().for_each(|piece| give(mm, piece.first, piece.pages));
    }
}

/// See [`Frames::iter`].
pub(super) struct Iter<'f> {
    /// Addresses of the piece that are left.
    at: u64,
    end: u64,
    rest: core::slice::Iter<'f, Piece>,
}

impl Iterator for Iter<'_> {
    type Item = PhysAddr;
    #[inline(always)]
    fn next(&mut self) -> Option<PhysAddr> {
        if self.at == self.end {
            let piece = self.rest.next()?;
            self.at = piece.first.phys().raw();
            self.end = self.at + piece.pages * PAGE_SIZE;
        }
        let frame = PhysAddr::new(self.at);
        self.at += PAGE_SIZE;
        Some(frame)
    }
}

/// A block, as single pages of vmemmap; the largest ones only where they are to be had for nothing.
fn take(mm: &Mm, order: Order) -> Option<Pfn> {
    // The references are the entries' from now on, or whose these frames are.
    if order == Order::PAGE {
        let page = mm.alloc_pages(order, PageKind::Vmemmap).ok()?;
        let pfn = page.pfn();
        page.leave();
        return Some(pfn);
    }
    let block = mm.alloc_free_block(order, PageKind::Vmemmap)?;
    let first = block.pfn();
    mm.split_page(block, order).for_each(FolioRef::leave);
    Some(first)
}

fn give(mm: &Mm, first: Pfn, pages: u64) {
    mm.put_vmemmap(page_of(first), pages);
}
