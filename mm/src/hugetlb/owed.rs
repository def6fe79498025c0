//! What the pools have promised to private mappings of objects in one space, slot by slot.
//!
//! ```text
//!   mmap of 4 slots           0..4
//!   slot 1 is written         0..1  2..4      its private copy is the promised page
//!   MADV_DONTNEED of slot 1   0..4            the copy goes back, and the promise comes back with it
//! ```
//! A slot of private memory without an object has its promise exactly as long as nothing is mapped there, and nothing
//! need be noted. Here that is not so: a slot may map the object's page and still have its promise, and truncation,
//! which knows nothing of mmap locks, takes private copies and leaves a slot without either. So the promises are a
//! list, by address, which mremap takes along and fork does not hand on (Linux: the `resv_map` of a private mapping).
//!
//! **Protocol.** The list is changed under M: by calls that hold it for writing, and by the fault of a slot, which
//! holds F of that slot, for the slot alone.
#![forbid(unsafe_code)]

use core::ops::Range;

use arch::VirtAddr;
use arch::sync::SpinLock;

use super::hstate::HugeSize;
use super::pool::{Claim, reserve, unreserve};
use super::promises::Promises;
use crate::Mm;
use crate::error::OutOfMemory;
use crate::locks::HUGETLB_OWED;

/// See the [module](self).
pub struct Owed {
    /// By size; slots are numbered by address.
    sizes: SpinLock<[Promises; HugeSize::ALL.len()]>,
}

/// The numbers of the slots of `[start, end)`.
fn slots(size: HugeSize, range: &Range<VirtAddr>) -> Range<u64> {
    range.start.raw() / size.bytes()..range.end.raw() / size.bytes()
}

impl Owed {
    /// Nothing.
    #[must_use]
    pub const fn new() -> Self {
        Owed { sizes: SpinLock::new(HUGETLB_OWED, [const { Promises::new() }; HugeSize::ALL.len()]) }
    }

    /// How many pages of this size.
    #[must_use]
    pub fn pages(&self, size: HugeSize) -> u64 {
        self.sizes.lock()[size.index()].len()
    }

    /// How many pages of this size in `range`.
    #[must_use]
    pub(crate) fn pages_in(&self, size: HugeSize, range: &Range<VirtAddr>) -> u64 {
        self.sizes.lock()[size.index()].count_in(slots(size, range))
    }

    /// Whether the slot of this address was promised a page and has not got it.
    #[must_use]
    pub fn has(&self, size: HugeSize, va: VirtAddr) -> bool {
        self.sizes.lock()[size.index()].has(va.raw() / size.bytes())
    }

    /// The first range of slots that were promised pages of this size, and have not got them, in `range`.
    #[must_use]
    pub fn first_in(&self, size: HugeSize, range: &Range<VirtAddr>) -> Option<Range<VirtAddr>> {
        let found = self.sizes.lock()[size.index()].first_in(slots(size, range))?;
        let at = |slot: u64| VirtAddr::new(slot * size.bytes());
        Some(at(found.start)..at(found.end))
    }

    /// Room for so many more ranges of each size that has any, or of this one.
    ///
    /// # Errors
    /// [`OutOfMemory`].
    pub(crate) fn prepare(&self, size: Option<HugeSize>, more: usize) -> Result<(), OutOfMemory> {
        let mut sizes = self.sizes.lock();
        for (&of, promises) in HugeSize::ALL.iter().zip(sizes.iter_mut()) {
            if size == Some(of) || promises.len() != 0 {
                promises.prepare(more)?;
            }
        }
        Ok(())
    }

    /// The pool has promised the slots of `range`. [`Self::prepare`] was called under the same M.
    pub(crate) fn add(&self, size: HugeSize, range: &Range<VirtAddr>) {
        self.sizes.lock()[size.index()].add(slots(size, range));
    }

    /// By what right the slot of this address gets a page: its promise is used where it has one.
    ///
    /// # Errors
    /// [`OutOfMemory`]; nothing has changed.
    pub(crate) fn claim(&self, size: HugeSize, va: VirtAddr) -> Result<Claim, OutOfMemory> {
        let mut sizes = self.sizes.lock();
        let (promises, slot) = (&mut sizes[size.index()], va.raw() / size.bytes());
        promises.prepare(1)?;
        Ok(match promises.take(slot..slot + 1) {
            0 => Claim::Unreserved,
            _ => Claim::Reserved,
        })
    }

    /// The page that was claimed so for the slot of this address is the pool's again, and so is its promise there: it
    /// stands in the list again. Where there is no memory for that, it ends.
    pub(crate) fn unclaim(&self, mm: &Mm, size: HugeSize, va: VirtAddr, claim: Claim) {
        if claim == Claim::Unreserved {
            return;
        }
        let kept = {
            let mut sizes = self.sizes.lock();
            let (promises, slot) = (&mut sizes[size.index()], va.raw() / size.bytes());
            promises.prepare(1).map(|()| promises.add(slot..slot + 1))
        };
        if kept.is_err() {
            unreserve(mm, size, 1);
        }
    }

    /// Promises the slot of this address a page, where the pool has one to spare. [`Self::prepare`] was called.
    pub(crate) fn promise_again(&self, mm: &Mm, size: HugeSize, slot: &Range<VirtAddr>) {
        if reserve(mm, size, 1).is_ok() {
            self.add(size, slot);
        }
    }

    /// The promises for the slots of `range` end, and are the pool's again. [`Self::prepare`] was called, or the range
    /// covers all. May sleep.
    pub(crate) fn give_back(&self, mm: &Mm, size: HugeSize, range: &Range<VirtAddr>) {
        let pages = self.sizes.lock()[size.index()].take(slots(size, range));
        unreserve(mm, size, pages);
        mm.hugetlb.trim(mm, size);
    }

    /// The promises for the slots of `from` are those of as many slots from `to` on. [`Self::prepare`] was called for
    /// [`Self::MOVE_ROOM`] more; the two places do not overlap.
    pub(crate) fn relocate(&self, size: HugeSize, from: &Range<VirtAddr>, to: VirtAddr) {
        let mut sizes = self.sizes.lock();
        let (promises, from) = (&mut sizes[size.index()], slots(size, from));
        let place = |slot: u64| to.raw() / size.bytes() + (slot - from.start);
        while let Some(piece) = promises.first_in(from.clone()) {
            promises.take(piece.clone());
            promises.add(place(piece.start)..place(piece.end));
        }
    }

    /// How many more ranges a move may make: what is left at either end of the old place, and the piece that goes.
    pub(crate) const MOVE_ROOM: usize = 3;

    /// Adds a promise that nobody made: damage, for tests of the check.
    #[cfg(test)]
    pub(crate) fn damage(&self, size: HugeSize, va: VirtAddr) {
        let slot = va.raw() / size.bytes();
        self.sizes.lock()[size.index()].damage(slot..slot + 1);
    }

    /// Whether the lists are in order.
    pub(crate) fn is_sound(&self) -> bool {
        self.sizes.lock().iter().all(Promises::is_sound)
    }
}

impl Default for Owed {
    fn default() -> Self {
        Self::new()
    }
}
