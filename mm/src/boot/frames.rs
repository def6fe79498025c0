//! Ranges of whole frames.
#![forbid(unsafe_code)]

use core::fmt;

use allocator_api2::vec::Vec;
use arch::addr::PAGE_SIZE;
use arch::{Order, Pfn};

use super::mem::PhysRange;
use crate::kalloc::KAlloc;

/// A list of ranges, sorted, no two overlapping.
pub type FrameList = Vec<Frames, KAlloc>;

/// The frames `[start, end)`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Frames {
    /// The first frame.
    pub start: Pfn,
    /// One past the last frame; not below `start`.
    pub end: Pfn,
}

impl Frames {
    /// The frames that lie wholly inside a range of bytes.
    #[must_use]
    pub fn inside(range: PhysRange) -> Self {
        let start = range.start.align_up(PAGE_SIZE).pfn();
        Frames { start, end: range.end.pfn().max(start) }
    }
    /// The frames of which a range of bytes has any part.
    #[must_use]
    pub fn covering(range: PhysRange) -> Self {
        let start = range.start.pfn();
        Frames { start, end: range.end.align_up(PAGE_SIZE).pfn().max(start) }
    }
    /// `pages` frames from `start`.
    #[must_use]
    pub fn new(start: Pfn, pages: u64) -> Self {
        Frames { start, end: start.add(pages) }
    }
    /// How many.
    #[must_use]
    pub fn len(self) -> u64 {
        self.end.offset_from(self.start)
    }
    /// Whether there are none.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.start >= self.end
    }
    /// Whether `pfn` is one of them.
    #[must_use]
    pub fn contains(self, pfn: Pfn) -> bool {
        (self.start..self.end).contains(&pfn)
    }
    /// The frames that both ranges have; empty where there are none.
    #[must_use]
    pub fn meet(self, other: Frames) -> Frames {
        let start = self.start.max(other.start);
        Frames { start, end: self.end.min(other.end).max(start) }
    }
    /// Grows by the frames that begin where these end. Whether they do.
    #[must_use]
    pub fn absorb(&mut self, next: Frames) -> bool {
        let touch = self.end == next.start;
        if touch {
            self.end = next.end;
        }
        touch
    }
    /// The smallest range of whole blocks of `order` around these frames.
    #[must_use]
    pub fn widened(self, order: Order) -> Frames {
        let end = Pfn::new(self.end.raw().next_multiple_of(order.pages()));
        Frames { start: self.start.align_down(order), end }
    }
    /// Every frame, ascending.
    pub fn iter(self) -> impl Iterator<Item = Pfn> {
        (self.start.raw()..self.end.raw()).map(Pfn::new)
    }
    /// The range as naturally aligned blocks of at most `largest`, ascending: each as large as its place
    /// allows.
    pub fn blocks(self, largest: Order) -> impl Iterator<Item = (Pfn, Order)> {
        let mut at = self.start;
        core::iter::from_fn(move || {
            let left = self.end.offset_from(at);
            if left == 0 {
                return None;
            }
            let aligned = at.raw().trailing_zeros();
            let order = aligned.min(left.ilog2()).min(u32::from(largest.raw()));
            let block = (at, Order::new(order as u8));
            at = at.add(block.1.pages());
            Some(block)
        })
    }
}

impl fmt::Display for Frames {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{}, {})", self.start.phys(), self.end.phys())
    }
}
