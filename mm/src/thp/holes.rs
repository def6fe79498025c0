//! Ranges of a space whose block has holes since a fork: a page of it was copied for a write, and stands elsewhere.
//!
//! ```text
//!   copy-on-write of a page of the range's reservation, or of its huge page  --> noted
//!   who shared it ends, or unmaps    --> one request to `kpromoted`: "the holes of this space"
//!   promoted, or nothing to be had   --> forgotten;      shared by another one still --> kept
//! ```
//! A note is a hint. There are [`MOST`] of them at most, and where there is no memory for one it is not taken: then the
//! next write of the range to a page that has become the space's own again asks for the range ([`super::promoter`]),
//! or a collapse repairs it. A range that is unmapped or moved keeps its note until the next request finds nothing
//! there.
#![forbid(unsafe_code)]

use allocator_api2::vec::Vec;
use arch::sync::{SpinGuard, SpinLock};
use arch::{PageSize, VirtAddr};

use super::record::Queued;
use crate::kalloc::KAlloc;
use crate::locks;

/// Most ranges of one space that are remembered: 8 GiB.
pub const MOST: usize = 4096;

/// The notes of one space.
pub struct Holes(SpinLock<Notes>);

/// The notes, locked.
pub(crate) struct Notes {
    /// First addresses, ascending.
    ranges: Vec<VirtAddr, KAlloc>,
    queued: Queued,
    /// The space has ended: no more are taken.
    closed: Closed,
}

/// Whether notes are taken.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Closed {
    Yes,
    No,
}

impl Holes {
    /// Of a new space.
    #[must_use]
    pub const fn new() -> Self {
        let ranges = Vec::new_in(KAlloc);
        Holes(SpinLock::new(locks::HOLES, Notes { ranges, queued: Queued::No, closed: Closed::No }))
    }

    pub(crate) fn lock(&self) -> SpinGuard<'_, Notes> {
        self.0.lock()
    }

    /// Takes note of the range of `va`. Whether it is noted now. The caller holds no lock of rank 34 or above.
    pub(super) fn note(&self, va: VirtAddr) -> bool {
        let range = va.align_down(PageSize::Size2M.bytes());
        let mut notes = self.lock();
        let Err(place) = notes.ranges.binary_search(&range) else { return true };
        let full = notes.closed == Closed::Yes || notes.ranges.len() >= MOST;
        if full || notes.ranges.try_reserve(1).is_err() {
            return false;
        }
        notes.ranges.insert(place, range);
        true
    }

    /// How many ranges are noted.
    #[must_use]
    pub fn count(&self) -> usize {
        self.lock().ranges.len()
    }

    /// Takes the first range at `from` or above off the notes.
    pub(super) fn take(&self, from: VirtAddr) -> Option<VirtAddr> {
        let mut notes = self.lock();
        let place = notes.ranges.partition_point(|&range| range < from);
        (place < notes.ranges.len()).then(|| notes.ranges.remove(place))
    }

    /// The space ends: forgets all, and takes no more. The caller holds no lock of rank 34 or above.
    pub(super) fn close(&self) {
        let mut notes = self.lock();
        notes.closed = Closed::Yes;
        let ranges = core::mem::replace(&mut notes.ranges, Vec::new_in(KAlloc));
        drop(notes);
        drop(ranges);
    }
}

#[cfg(test)]
impl Holes {
    /// Notes what is no range: damage for the checks to find.
    pub(crate) fn spoil(&self) {
        self.lock().ranges.push(VirtAddr::new(1));
    }
}

impl Default for Holes {
    fn default() -> Self {
        Self::new()
    }
}

impl Notes {
    /// Whether there is something to ask for that was not asked for.
    pub(super) fn waits(&self) -> bool {
        !self.ranges.is_empty() && self.queued == Queued::No
    }
    pub(crate) fn set_queued(&mut self, queued: Queued) {
        self.queued = queued;
    }
    /// Whether each range is aligned, and above the one before.
    pub(super) fn is_sound(&self) -> bool {
        let aligned = self.ranges.iter().all(|range| range.is_aligned(PageSize::Size2M.bytes()));
        aligned && self.ranges.is_sorted_by(|a, b| a < b) && self.ranges.len() <= MOST
    }
    pub(super) fn queued(&self) -> Queued {
        self.queued
    }
}
