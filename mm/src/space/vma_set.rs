//! The VMAs of an address space: sorted, disjoint, equal neighbours merged.
//!
//! ```text
//!   [ a )   [ b )[ c )          [ d )
//!           split b at x:  [ b1 x)[x b2 )[ c )      needs room for one more
//! ```
//! A change that makes more VMAs asks for room first ([`VmaSet::prepare`]); what follows cannot fail, so a
//! caller never stops half way.
#![forbid(unsafe_code)]

use core::ops::Range;

use allocator_api2::vec::Vec;
use arch::VirtAddr;
use arch::addr::PAGE_SIZE;

use super::error::MmapError;
use super::vma::Vma;
use crate::kalloc::KAlloc;

/// Most VMAs of one address space (Linux: vm.max_map_count).
pub const MAX_VMAS: usize = 65530;

/// Sorted by address.
#[derive(Debug)]
pub struct VmaSet {
    vmas: Vec<Vma, KAlloc>,
}

impl Default for VmaSet {
    fn default() -> Self {
        Self::new()
    }
}

impl VmaSet {
    /// No VMAs.
    #[must_use]
    pub const fn new() -> Self {
        VmaSet { vmas: Vec::new_in(KAlloc) }
    }
    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.vmas.len()
    }
    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.vmas.is_empty()
    }
    /// All, lowest first.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &Vma> {
        self.vmas.iter()
    }

    /// The VMAs, to be damaged by tests of the check.
    #[cfg(test)]
    pub(crate) fn raw(&mut self) -> &mut [Vma] {
        &mut self.vmas
    }

    /// Index of the first VMA that ends above `va`.
    fn index_above(&self, va: VirtAddr) -> usize {
        self.vmas.partition_point(|vma| vma.end <= va)
    }
    /// The first VMA that ends above `va`: the one that holds it, or the next one (Linux: `find_vma`).
    #[must_use]
    pub fn find(&self, va: VirtAddr) -> Option<Vma> {
        self.vmas.get(self.index_above(va)).copied()
    }
    /// The VMA that holds `va`.
    #[must_use]
    pub fn at(&self, va: VirtAddr) -> Option<Vma> {
        self.find(va).filter(|vma| vma.contains(va))
    }
    /// The VMAs that share an address with `[start, end)`.
    pub fn overlapping(&self, start: VirtAddr, end: VirtAddr) -> impl Iterator<Item = &Vma> {
        self.vmas[self.index_above(start)..].iter().take_while(move |vma| vma.start < end)
    }

    /// The first part of a VMA, at or above `from`, whose pages have a linear index in `pages`. Where no VMA is moved
    /// that is at the addresses which the index says; else all VMAs are looked at.
    #[must_use]
    pub fn next_linear(&self, pages: &Range<u64>, from: VirtAddr) -> Option<Vma> {
        let part = |vma: &Vma| {
            let end = vma.pgoff + vma.bytes() / PAGE_SIZE;
            let (first, end) = (pages.start.max(vma.pgoff), pages.end.min(end));
            let start = (first < end).then(|| vma.address_of(first)).flatten()?;
            let part = vma.part(start, start.add((end - first) * PAGE_SIZE));
            (part.start >= from).then_some(part)
        };
        self.vmas[self.index_above(from)..].iter().find_map(part)
    }

    /// Makes room for `more` VMAs.
    ///
    /// # Errors
    /// [`MmapError::TooManyVmas`] where there would be more than [`MAX_VMAS`], [`MmapError::OutOfMemory`].
    pub fn prepare(&mut self, more: usize) -> Result<(), MmapError> {
        if self.vmas.len() + more > MAX_VMAS {
            return Err(MmapError::TooManyVmas);
        }
        self.vmas.try_reserve(more).map_err(|_| MmapError::OutOfMemory)
    }

    /// Cuts the VMA around `va` in two there. Room for one more has been made.
    pub fn split_at(&mut self, va: VirtAddr) {
        let n = self.index_above(va);
        let Some(vma) = self.vmas.get_mut(n) else { return };
        if vma.start < va {
            let upper = vma.part(va, vma.end);
            vma.end = va;
            self.insert_prepared(n + 1, upper);
        }
    }

    /// Puts a VMA into a gap, and merges it with its neighbours. Room for one has been made.
    ///
    /// # Panics
    /// The gap is not free.
    pub fn insert(&mut self, vma: Vma) {
        let n = self.index_above(vma.start);
        let free = self.vmas.get(n).is_none_or(|next| vma.end <= next.start);
        assert!(free && vma.start < vma.end, "{vma}: not a free range");
        self.insert_prepared(n, vma);
        self.merge_around(vma.start, vma.end);
    }

    /// Takes `[start, end)` out. VMAs that reach beyond stay in part; room for one more has been made.
    pub fn remove(&mut self, start: VirtAddr, end: VirtAddr) {
        self.split_at(start);
        self.split_at(end);
        let (from, to) = (self.index_above(start), self.index_above_start(end));
        self.vmas.drain(from..to);
    }

    /// Changes every VMA of `[start, end)`, cutting those that reach beyond, and merges what became equal.
    /// Room for two more has been made.
    pub fn change(&mut self, start: VirtAddr, end: VirtAddr, change: impl Fn(&mut Vma)) {
        self.split_at(start);
        self.split_at(end);
        let (from, to) = (self.index_above(start), self.index_above_start(end));
        self.vmas[from..to].iter_mut().for_each(change);
        self.merge_around(start, end);
    }

    /// How many VMAs [`Self::change`] and [`Self::remove`] cut at the ends of `[start, end)`: 0..=2.
    #[must_use]
    pub fn cuts(&self, start: VirtAddr, end: VirtAddr) -> usize {
        [start, end].iter().filter(|&&va| self.at(va).is_some_and(|vma| vma.start < va)).count()
    }

    /// Whether every VMA that an end of `[start, end)` cuts can be cut there.
    ///
    /// # Errors
    /// [`MmapError::InsideHugePage`]: the end that cannot be.
    pub fn check_cuts(&self, start: VirtAddr, end: VirtAddr) -> Result<(), MmapError> {
        let possible = |va: VirtAddr| self.at(va).is_none_or(|vma| va.is_aligned(vma.kind.granule().bytes()));
        match [start, end].into_iter().find(|&va| !possible(va)) {
            Some(va) => Err(MmapError::InsideHugePage(va)),
            None => Ok(()),
        }
    }

    /// Index of the first VMA that begins at or above `va`.
    fn index_above_start(&self, va: VirtAddr) -> usize {
        self.vmas.partition_point(|vma| vma.start < va)
    }

    /// Inserts where there is capacity, so without asking for memory.
    fn insert_prepared(&mut self, n: usize, vma: Vma) {
        assert!(self.vmas.len() < self.vmas.capacity(), "{vma}: no room was made for it");
        self.vmas.insert(n, vma);
    }

    /// Merges equal neighbours that touch each other in or at the ends of `[start, end]`.
    fn merge_around(&mut self, start: VirtAddr, end: VirtAddr) {
        let mut n = self.index_above(start).saturating_sub(1);
        while n + 1 < self.vmas.len() && self.vmas[n].start < end {
            if self.vmas[n].merges_with(&self.vmas[n + 1]) {
                self.vmas[n].end = self.vmas[n + 1].end;
                self.vmas.remove(n + 1);
            } else {
                n += 1;
            }
        }
    }
}
