//! The allocator before the allocator: a sorted list of free ranges, from which frames are cut and never
//! given back. What is left at the end goes to the buddy allocator.
#![forbid(unsafe_code)]

use arch::{Order, Pfn, PhysAddr};

use super::frames::{FrameList, Frames};
use super::mem::{BootError, BootMem};
use crate::kalloc::KAlloc;

/// Where the cut-out frames may lie.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Reach {
    /// In memory that can be written already.
    Mapped,
    /// Anywhere in RAM.
    Anywhere,
}

/// What must be left free.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Keep {
    /// Frames, wherever.
    pub(super) frames: u64,
    /// Of them, in memory that can be written already.
    pub(super) mapped: u64,
}

/// Free frames, ascending, none reserved.
pub(super) struct EarlyFrames {
    free: FrameList,
    mapped: Frames,
}

impl EarlyFrames {
    /// All of `ram` but what is reserved.
    pub(super) fn new(ram: &[Frames], boot: &BootMem<'_>) -> Result<Self, BootError> {
        let mut free = FrameList::new_in(KAlloc);
        free.try_reserve_exact(ram.len())?;
        free.extend(ram.iter().copied());
        let mut early = EarlyFrames { free, mapped: Frames::inside(boot.mapped) };
        for &range in boot.reserved {
            early.cut(Frames::covering(range))?;
        }
        Ok(early)
    }

    /// The lowest free block of `order`. Its contents are undefined.
    pub(super) fn take(
        &mut self,
        order: Order,
        reach: Reach,
        what: &'static str,
    ) -> Result<PhysAddr, BootError> {
        let fits = |range: &Frames| {
            let range = if reach == Reach::Mapped { range.meet(self.mapped) } else { *range };
            let start = Pfn::new(range.start.raw().next_multiple_of(order.pages()));
            let block = Frames::new(start, order.pages());
            (block.end <= range.end).then_some(block)
        };
        let found = self.free.iter().find_map(fits);
        let block = found.ok_or(BootError::NoMemory { what, bytes: order.bytes() })?;
        self.cut(block)?;
        Ok(block.start.phys())
    }

    /// The highest free block of `order` without which enough is left. Its contents are undefined.
    pub(super) fn take_high(&mut self, order: Order, keep: Keep) -> Result<Option<Frames>, BootError> {
        let all: u64 = self.free.iter().map(|range| range.len()).sum();
        let mapped: u64 = self.free.iter().map(|range| range.meet(self.mapped).len()).sum();
        let fits = |block: &Frames| {
            all >= keep.frames + block.len() && mapped >= keep.mapped + block.meet(self.mapped).len()
        };
        let mut blocks = self.free.iter().rev().flat_map(|range| {
            let (first, end) = (range.start.raw().div_ceil(order.pages()), range.end.raw() / order.pages());
            (first..end).rev().map(move |n| Frames::new(Pfn::new(n * order.pages()), order.pages()))
        });
        let found = blocks.find(fits);
        found.map_or(Ok(()), |block| self.cut(block))?;
        Ok(found)
    }

    /// What is left.
    pub(super) fn free(&self) -> &[Frames] {
        &self.free
    }

    /// Removes the frames of `hole` from every free range.
    fn cut(&mut self, hole: Frames) -> Result<(), BootError> {
        let mut n = 0;
        while let Some(&range) = self.free.get(n) {
            if range.meet(hole).is_empty() {
                n += 1;
                continue;
            }
            let below = Frames { start: range.start, end: hole.start.max(range.start) };
            let above = Frames { start: hole.end.min(range.end), end: range.end };
            match (below.is_empty(), above.is_empty()) {
                (true, true) => drop(self.free.remove(n)),
                (false, true) => self.free[n] = below,
                (true, false) => self.free[n] = above,
                (false, false) => {
                    self.free.try_reserve(1)?;
                    self.free[n] = above;
                    self.free.insert(n, below);
                }
            }
        }
        Ok(())
    }
}
