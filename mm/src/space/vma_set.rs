//! The VMAs of an address space: sorted, disjoint, equal neighbours merged.
//!
//! ```text
//!   [ a )   [ b )[ c )          [ d )
//!           split b at x:  [ b1 x)[x b2 )[ c )      needs room for one more
//! ```
//! A change that makes more VMAs asks for room first ([`VmaSet::prepare`]); what follows cannot fail, so a
//! caller never stops half way. One VMA is found, put in, cut or merged in a logarithmic number of steps, and so is a
//! gap (`vma_tree`).
#![forbid(unsafe_code)]

use core::ops::Range;

use arch::VirtAddr;
use arch::addr::PAGE_SIZE;
use arch::layout::USER_END;

use super::error::MmapError;
use super::vma::Vma;
use super::vma_tree::{VmaTree, Wish};
use crate::error::OutOfMemory;

/// Most VMAs of one address space (Linux: vm.max_map_count).
pub const MAX_VMAS: usize = 65530;

/// Sorted by address.
#[derive(Debug)]
pub struct VmaSet {
    tree: VmaTree,
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
        VmaSet { tree: VmaTree::new() }
    }
    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.tree.len()
    }
    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// All, lowest first.
    pub fn iter(&self) -> impl Iterator<Item = &Vma> {
        self.overlapping(VirtAddr::new(0), USER_END)
    }

    /// The VMAs, to be damaged by tests of the check.
    #[cfg(test)]
    pub(crate) fn raw(&mut self) -> std::vec::Vec<&mut Vma> {
        self.tree.raw()
    }

    /// The first VMA that ends above `va`: the one that holds it, or the next one (Linux: `find_vma`).
    #[must_use]
    pub fn find(&self, va: VirtAddr) -> Option<Vma> {
        self.tree.find(va).copied()
    }
    /// The VMA that holds `va`, in its place.
    #[must_use]
    #[inline]
    pub fn holding(&self, va: VirtAddr) -> Option<&Vma> {
        self.tree.found(va).or_else(|| self.tree.find(va).filter(|vma| vma.contains(va)))
    }
    /// The VMA that holds `va`.
    #[must_use]
    pub fn at(&self, va: VirtAddr) -> Option<Vma> {
        self.holding(va).copied()
    }
    /// The last VMA that begins below `va`.
    #[must_use]
    pub fn find_below(&self, va: VirtAddr) -> Option<Vma> {
        self.tree.find_below(va).copied()
    }
    /// The first VMA that shares an address with `[start, end)`. Nothing is looked for where the range is empty.
    #[must_use]
    pub fn first_in(&self, start: VirtAddr, end: VirtAddr) -> Option<&Vma> {
        if start < end { self.tree.find(start).filter(|vma| vma.start < end) } else { None }
    }
    /// The VMAs that share an address with `[start, end)`, lowest first.
    pub fn overlapping(&self, start: VirtAddr, end: VirtAddr) -> impl Iterator<Item = &Vma> {
        let mut from = start;
        core::iter::from_fn(move || {
            let vma = self.first_in(from, end)?;
            from = vma.end;
            Some(vma)
        })
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
        let page = |index: u64| VirtAddr::new(index.min(USER_END.raw() / PAGE_SIZE) * PAGE_SIZE);
        let (start, end) = if self.tree.moved() == 0 {
            (from.max(page(pages.start)), page(pages.end))
        } else {
            (from, USER_END)
        };
        self.overlapping(start, end).find_map(part)
    }

    /// The highest free address in `[low, high)` for what is wished, clear of the guard gaps of stacks.
    pub(super) fn highest_gap(&self, low: VirtAddr, high: VirtAddr, wish: Wish) -> Option<VirtAddr> {
        self.tree.highest_gap(low, high, wish)
    }

    /// The same VMAs, each changed by `change`, which leaves addresses and index as they are. Takes time for each, but
    /// no look for its place.
    ///
    /// # Errors
    /// [`OutOfMemory`].
    pub(super) fn try_clone(&self, change: impl Fn(&mut Vma)) -> Result<Self, OutOfMemory> {
        Ok(VmaSet { tree: self.tree.try_clone(change)? })
    }

    /// Makes room for `more` VMAs.
    ///
    /// # Errors
    /// [`MmapError::TooManyVmas`] where there would be more than [`MAX_VMAS`], [`MmapError::OutOfMemory`].
    pub fn prepare(&mut self, more: usize) -> Result<(), MmapError> {
        if self.len() + more > MAX_VMAS {
            return Err(MmapError::TooManyVmas);
        }
        Ok(self.tree.reserve(more)?)
    }

    /// Cuts the VMA around `va` in two there. Room for one more has been made.
    pub fn split_at(&mut self, va: VirtAddr) {
        let Some(vma) = self.at(va).filter(|vma| vma.start < va) else { return };
        self.tree.edit(vma.start, |lower| lower.end = va);
        self.tree.insert(vma.part(va, vma.end));
    }

    /// Puts a VMA into a gap, and merges it with its neighbours. Room for one has been made.
    ///
    /// # Panics
    /// The gap is not free.
    pub fn insert(&mut self, vma: Vma) {
        let place = self.tree.place_for(&vma);
        assert!(place.is_free && vma.start < vma.end, "{vma}: not a free range");
        let before = place.before.filter(|before| before.merges_with(&vma)).copied();
        let next = place.next.filter(|next| vma.merges_with(next)).copied();
        let way = place.way;
        match (before, next) {
            (Some(before), Some(next)) => {
                self.tree.remove(next.start);
                self.tree.edit(before.start, |merged| merged.end = next.end);
            }
            (Some(before), None) => self.tree.edit(before.start, |merged| merged.end = vma.end),
            (None, Some(next)) => self.tree.edit(next.start, |merged| {
                (merged.start, merged.pgoff) = (vma.start, vma.pgoff);
            }),
            (None, None) => self.tree.insert_at(way, vma),
        }
    }

    /// Lets the VMA that begins at `start` end at `end`, above where it ended and no further than the next one begins,
    /// and merges it with that.
    pub fn extend(&mut self, start: VirtAddr, end: VirtAddr) {
        self.tree.edit(start, |vma| vma.end = end);
        self.merge_around(end, end);
    }

    /// Lets the VMA that begins at `start` begin at `new`, below it. The addresses between are free.
    pub(super) fn grow_down(&mut self, start: VirtAddr, new: VirtAddr) {
        self.tree.edit(start, |vma| {
            vma.pgoff -= start.offset_from(new) / PAGE_SIZE;
            vma.start = new;
        });
    }

    /// Takes `[start, end)` out. VMAs that reach beyond stay in part; room for one more has been made.
    pub fn remove(&mut self, start: VirtAddr, end: VirtAddr) {
        if start.raw() == 0 && end >= USER_END {
            return self.tree.clear();
        }
        self.split_at(start);
        let mut from = start;
        while let Some(vma) = self.first_in(from, end).copied() {
            if vma.end > end {
                self.split_at(end);
            }
            self.tree.remove(vma.start);
            from = vma.end;
        }
    }

    /// Changes every VMA of `[start, end)`, cutting those that reach beyond, and merges what became equal. The
    /// addresses of a VMA are not changed. Room for two more has been made.
    pub fn change(&mut self, start: VirtAddr, end: VirtAddr, change: impl Fn(&mut Vma)) {
        self.split_at(start);
        self.split_at(end);
        let mut from = start;
        while let Some(vma) = self.first_in(from, end).copied() {
            self.tree.edit(vma.start, &change);
            from = vma.end;
        }
        self.merge_around(start, end);
    }

    /// How many VMAs [`Self::change`] and [`Self::remove`] cut at the ends of `[start, end)`: 0..=2.
    ///
    /// # Errors
    /// [`MmapError::InsideHugePage`]: an end at which the VMA cannot be cut.
    pub fn cuts(&self, start: VirtAddr, end: VirtAddr) -> Result<usize, MmapError> {
        let cut = |vma: &Vma, va: VirtAddr| match vma.start < va && va < vma.end {
            true if va.is_aligned(vma.kind.granule()) => Ok(1),
            true => Err(MmapError::InsideHugePage(va)),
            false => Ok(0),
        };
        let Some(first) = self.tree.find(start) else { return Ok(0) };
        let last = if first.end < end { self.tree.find(end) } else { Some(first) };
        Ok(cut(first, start)? + last.map_or(Ok(0), |last| cut(last, end))?)
    }

    /// Whether the tree says the truth about itself.
    pub(super) fn is_sound(&self) -> bool {
        self.tree.is_sound()
    }

    /// Merges equal neighbours that touch each other in or at the ends of `[start, end]`.
    fn merge_around(&mut self, start: VirtAddr, end: VirtAddr) {
        let first = self.find_below(start).filter(|vma| vma.end == start);
        let mut at = first.or_else(|| self.find(start));
        while let Some(vma) = at.filter(|vma| vma.start < end) {
            let next = self.find(vma.end);
            at = match next.filter(|next| vma.merges_with(next)) {
                Some(next) => {
                    self.tree.remove(next.start);
                    self.tree.edit(vma.start, |merged| merged.end = next.end);
                    Some(Vma { end: next.end, ..vma })
                }
                None => next,
            };
        }
    }
}
