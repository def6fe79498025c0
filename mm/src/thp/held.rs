//! For how long locks are held to make a huge page, or to map one of hugetlb by larger entries: so long a fault of the
//! same space may have to wait.
//!
//! | lock | who waits | from, to |
//! |---|---|---|
//! | T | every fault of the space | each time that entries are looked at or exchanged |
//! | M, for reading | mmap, munmap, fork and the like | the whole promotion in place |
//! | M, for writing | they, and every fault | MADV_COLLAPSE, of one VMA, or of one entry of hugetlb; khugepaged, from when it has found a range that it may collapse |
//! | O and T, of hugetlb | faults of the space, and of the object | one entry is exchanged |
//!
//! Of each there is the sum of all holds, and the longest one. A promotion within a fault ([`super::promoter`]) counts
//! from where it begins: the fault holds M anyway.
#![forbid(unsafe_code)]

use crate::Mm;
use crate::stats::Counter;

/// Begins when a lock was taken and ends, when dropped, before it is let go: so it is declared after the guard.
#[must_use = "what is dropped at once has measured nothing"]
pub(crate) struct Held<'m> {
    mm: &'m Mm,
    /// What the time is added to.
    sum: Counter,
    /// The longest of them.
    longest: Counter,
    /// Nanoseconds since boot.
    began: u64,
}

impl<'m> Held<'m> {
    /// T is held.
    pub(super) fn begin(mm: &'m Mm) -> Self {
        Held::new(mm, (Counter::ThpPtlHeld, Counter::ThpPtlHeldLongest))
    }
    /// M is held for reading.
    pub(super) fn mmap_read(mm: &'m Mm) -> Self {
        Held::new(mm, (Counter::ThpMmapReadHeld, Counter::ThpMmapReadHeldLongest))
    }
    /// M is held for writing.
    pub(crate) fn mmap_write(mm: &'m Mm) -> Self {
        Held::new(mm, (Counter::ThpMmapWriteHeld, Counter::ThpMmapWriteHeldLongest))
    }
    /// O and T are held to exchange entries of a hugetlb page.
    pub(crate) fn of_hugetlb(mm: &'m Mm) -> Self {
        Held::new(mm, (Counter::HgmPtlHeld, Counter::HgmPtlHeldLongest))
    }
    fn new(mm: &'m Mm, (sum, longest): (Counter, Counter)) -> Self {
        Held { mm, sum, longest, began: mm.env.now_ns() }
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        let held = self.mm.env.now_ns() - self.began;
        self.mm.stats.add(self.sum, held);
        self.mm.stats.raise(self.longest, held);
    }
}
