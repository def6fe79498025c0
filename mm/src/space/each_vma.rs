//! A look at a VMA, or at one after the other, without keeping the lock of their set.
#![forbid(unsafe_code)]

use core::ops::{ControlFlow, Range};

use arch::VirtAddr;
use arch::sync::SpinGuard;

use super::{AddressSpace, Vma, VmaSet};

impl AddressSpace {
    /// The set, locked: for a look. Who changes it is a call of this room, under M.
    #[inline]
    pub(crate) fn vmas(&self) -> SpinGuard<'_, VmaSet> {
        self.vmas.lock()
    }
    /// The VMA that holds `va`. Stays true while the caller holds M.
    #[must_use]
    pub fn vma_at(&self, va: VirtAddr) -> Option<Vma> {
        self.vmas.lock().at(va)
    }
    /// The VMA that holds `va`, or else the first one above it. Stays true while the caller holds M.
    #[must_use]
    pub fn find_vma(&self, va: VirtAddr) -> Option<Vma> {
        self.vmas.lock().find(va)
    }
    /// The first VMA that shares an address with `[start, end)`. Stays true while the caller holds M.
    #[must_use]
    pub fn first_vma_in(&self, start: VirtAddr, end: VirtAddr) -> Option<Vma> {
        self.vmas.lock().first_in(start, end).copied()
    }
    /// How many VMAs there are.
    #[must_use]
    pub fn vma_count(&self) -> usize {
        self.vmas.lock().len()
    }
    /// Tells `f` the part of each VMA whose pages have a linear index in `pages`, lowest address first. No lock is
    /// held while `f` runs. Without M a VMA that is changed meanwhile may be told as it was or as it is, or not.
    pub fn for_each_linear(&self, pages: Range<u64>, mut f: impl FnMut(&Vma)) {
        let mut from = VirtAddr::new(0);
        loop {
            let next = self.vmas.lock().next_linear(&pages, from);
            let Some(part) = next else { return };
            f(&part);
            from = part.end;
        }
    }
    /// Asks `f` of the part of each VMA whose pages have a linear index in `pages`, lowest address first, until it
    /// breaks: the VMA, and where the part begins and ends. The set is locked meanwhile, so VMAs stay as they are; `f`
    /// may take T.
    pub(crate) fn try_for_each_linear<B>(
        &self,
        pages: Range<u64>,
        mut f: impl FnMut(&Vma, Range<VirtAddr>) -> ControlFlow<B>,
    ) -> ControlFlow<B> {
        let vmas = self.vmas.lock();
        let mut from = VirtAddr::new(0);
        while let Some(part) = vmas.next_linear(&pages, from) {
            let whole = vmas.at(part.start).unwrap_or(part);
            f(&whole, part.start..part.end)?;
            from = part.end;
        }
        ControlFlow::Continue(())
    }
    /// The VMAs, to be damaged by tests of the check.
    #[cfg(test)]
    pub(crate) fn with_raw_vmas(&self, f: impl FnOnce(&mut [&mut Vma])) {
        f(&mut self.vmas.lock().raw());
    }
    /// Tells `f` every VMA, lowest first. No lock is held while `f` runs; without M a VMA that is changed
    /// meanwhile may be told as it was or as it is.
    pub fn for_each_vma(&self, mut f: impl FnMut(&Vma)) {
        let mut from = VirtAddr::new(0);
        while let Some(vma) = self.find_vma(from) {
            f(&vma);
            from = vma.end;
        }
    }
}
