//! The faults of one context that wait, in the order in which they came.
//!
//! A fault that has been told stays until it is woken. Memory for one more is asked for as it comes.
#![forbid(unsafe_code)]

use core::ops::Range;

use allocator_api2::vec::Vec;
use arch::{Access, VirtAddr};

use crate::error::OutOfMemory;
use crate::kalloc::KAlloc;

/// A minor fault, as whoever serves it is told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Minor {
    /// The first address of the page: of 4 KiB, or of hugetlb, by the VMA's grain.
    pub page: VirtAddr,
    /// The address of the access.
    pub exact: VirtAddr,
    /// What the access wanted to do.
    pub access: Access,
}

/// Whether somebody knows of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Told {
    Not,
    Yes,
}

struct Waiting {
    number: u64,
    fault: Minor,
    told: Told,
}

/// The queue.
pub(super) struct Queue {
    faults: Vec<Waiting, KAlloc>,
}

impl Queue {
    pub(super) const fn new() -> Self {
        Queue { faults: Vec::new_in(KAlloc) }
    }

    /// One fault more.
    ///
    /// # Errors
    /// [`OutOfMemory`].
    pub(super) fn push(&mut self, number: u64, fault: Minor) -> Result<(), OutOfMemory> {
        self.faults.try_reserve(1).map_err(|_| OutOfMemory)?;
        self.faults.push(Waiting { number, fault, told: Told::Not });
        Ok(())
    }

    /// Whether this fault waits yet.
    pub(super) fn holds(&self, number: u64) -> bool {
        self.faults.iter().any(|waiting| waiting.number == number)
    }

    /// The fault does not wait any more.
    pub(super) fn remove(&mut self, number: u64) {
        self.faults.retain(|waiting| waiting.number != number);
    }

    /// No fault of a page that begins in this range waits any more. Returns how many have.
    pub(super) fn remove_in(&mut self, pages: &Range<VirtAddr>) -> usize {
        let before = self.faults.len();
        self.faults.retain(|waiting| !pages.contains(&waiting.fault.page));
        before - self.faults.len()
    }

    /// The first fault of a page that begins in this range and of which nobody knows; now somebody does.
    pub(super) fn next(&mut self, pages: &Range<VirtAddr>) -> Option<Minor> {
        let news = |waiting: &&mut Waiting| waiting.told == Told::Not && pages.contains(&waiting.fault.page);
        let waiting = self.faults.iter_mut().find(news)?;
        waiting.told = Told::Yes;
        Some(waiting.fault)
    }

    /// Nobody knows of the faults of this page, after all.
    pub(super) fn untell(&mut self, page: VirtAddr) {
        let same = self.faults.iter_mut().filter(|waiting| waiting.fault.page == page);
        same.for_each(|waiting| waiting.told = Told::Not);
    }

    /// Of how many nobody knows.
    pub(super) fn news(&self) -> usize {
        self.faults.iter().filter(|waiting| waiting.told == Told::Not).count()
    }

    /// How many wait.
    pub(super) fn len(&self) -> usize {
        self.faults.len()
    }
}
