//! The first tail of a folio: room for what a way of counting mappings keeps beside the head.
//!
//! The head has one counter for mappings. What else a scheme of [`crate::mapcount`] needs stands here, in the second
//! struct page, which is in the page of vmemmap that HVO keeps and leaves writable. An unmapped folio has nothing but
//! zeros in these fields, under every scheme, so that the first tail is pristine whenever HVO looks at it; the full
//! check and who frees a folio hold it to that.
//!
//! ```text
//!   0       8               16        24       32       36       40      44     48        52        56
//!   +-------+---------------+---------+--------+--------+--------+-------+------+---------+---------+------+
//!   | 0     | compound_info | link    | owners | slot 0 | slot 1 | whole | sum  | 0       | mapcount| 0    |  (64)
//!   +-------+---------------+---------+--------+--------+--------+-------+------+---------+---------+------+
//! ```
//! With `tails=pointer` and HVO the same bytes appear again at every 64th struct page of the folio; nobody looks for
//! them there, as they are asked of the head only.
#![forbid(unsafe_code)]

use core::mem::{offset_of, size_of};
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use arch::{Cpu, Machine};

use super::{Flags, Page, PageRef};

/// How the bytes of a first tail are used. Nobody holds a reference to one.
#[repr(C, align(64))]
struct FirstTail {
    flags: AtomicU64,
    compound_info: AtomicU64,
    link: AtomicU64,
    owners: AtomicU64,
    slots: [AtomicU32; 2],
    whole: AtomicU32,
    sum: AtomicU32,
    refcount: AtomicU32,
    mapcount: AtomicU32,
    unused: AtomicU64,
}

const _: () = assert!(size_of::<FirstTail>() == size_of::<Page>());
const _: () = assert!(offset_of!(FirstTail, compound_info) == offset_of!(Page, compound_info));
const _: () = assert!(offset_of!(FirstTail, link) == offset_of!(Page, link_next));
const _: () = assert!(offset_of!(FirstTail, refcount) == offset_of!(Page, refcount));
const _: () = assert!(offset_of!(FirstTail, mapcount) == offset_of!(Page, mapcount));

const OWNERS: usize = offset_of!(FirstTail, owners);
const SLOTS: usize = offset_of!(FirstTail, slots);
const WHOLE: usize = offset_of!(FirstTail, whole);
const SUM: usize = offset_of!(FirstTail, sum);

/// The bit of the owners' word that is its lock.
const LOCK: u64 = 1 << 31;

impl PageRef {
    /// Whether this is the head of a folio of order 1 or more, and so has a first tail.
    #[must_use]
    #[inline]
    pub fn is_folio(self) -> bool {
        self.flags().contains(Flags::HEAD)
    }

    /// The first tail of this folio.
    #[must_use]
    #[inline]
    pub(crate) fn first_tail(self) -> FirstTailRef {
        FirstTailRef(self.nth(1))
    }
}

/// A view of a folio's first tail, as [`PageRef`] is one of any struct page.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct FirstTailRef(PageRef);

impl FirstTailRef {
    /// Sets the lock bit of the owners' word, waiting while another CPU has it, and returns the word without it.
    /// One atomic operation where nobody else wants it. Interrupts are masked, as under T: whoever holds the bit
    /// is never interrupted by who waits for it.
    #[inline]
    pub(crate) fn lock_owners(self) -> u64 {
        loop {
            let old = self.0.fetch_or_64(OWNERS, LOCK);
            if old & LOCK == 0 {
                return old;
            }
            while self.owners() & LOCK != 0 {
                Machine::relax();
            }
        }
    }
    /// Writes the owners' word and lets the lock bit go: one plain store.
    #[inline]
    pub(crate) fn unlock_owners(self, word: u64) {
        self.0.store_64(OWNERS, word & !LOCK, Ordering::Release);
    }
    /// The owners' word, with the lock bit as it is.
    #[inline]
    pub(crate) fn owners(self) -> u64 {
        self.0.load_64(OWNERS, Ordering::Acquire)
    }
    /// The count of slot `n`, 0 or 1.
    #[inline]
    pub(crate) fn slot(self, n: usize) -> u32 {
        self.0.load_32(SLOTS + 4 * n, Ordering::Relaxed)
    }
    /// Sets the count of slot `n`, 0 or 1. With the lock bit.
    #[inline]
    pub(crate) fn set_slot(self, n: usize, count: u32) {
        self.0.store_32(SLOTS + 4 * n, count, Ordering::Relaxed);
    }
    /// Entries of the folio's own size.
    #[inline]
    pub(crate) fn whole(self) -> u32 {
        self.0.load_32(WHOLE, Ordering::Acquire)
    }
    /// Sets [`Self::whole`]. With the lock bit.
    #[inline]
    pub(crate) fn set_whole(self, count: u32) {
        self.0.store_32(WHOLE, count, Ordering::Release);
    }
    /// Adds to [`Self::whole`]; one atomic operation. Returns what it was.
    #[inline]
    pub(crate) fn add_whole(self, n: u32) -> u32 {
        self.0.fetch_add_32(WHOLE, n)
    }
    /// Takes from [`Self::whole`]; one atomic operation. Returns what it was.
    #[inline]
    pub(crate) fn sub_whole(self, n: u32) -> u32 {
        self.0.fetch_sub_32(WHOLE, n)
    }
    /// The scheme's second counter.
    #[inline]
    pub(crate) fn sum(self) -> u32 {
        self.0.load_32(SUM, Ordering::Acquire)
    }
    /// Adds to [`Self::sum`]; one atomic operation. Returns what it was.
    #[inline]
    pub(crate) fn add_sum(self, n: u32) -> u32 {
        self.0.fetch_add_32(SUM, n)
    }
    /// Takes from [`Self::sum`]; one atomic operation. Returns what it was.
    #[inline]
    pub(crate) fn sub_sum(self, n: u32) -> u32 {
        self.0.fetch_sub_32(SUM, n)
    }
    /// All fields that a scheme may use, one on the other: 0 where each of them is.
    pub(crate) fn kept(self) -> u64 {
        let counts = self.slot(0) | self.slot(1) | self.whole() | self.sum();
        self.owners() | u64::from(counts)
    }
    /// Sets [`Self::sum`]. Only for a folio that nobody else counts at this moment.
    #[inline]
    pub(crate) fn set_sum(self, count: u32) {
        self.0.store_32(SUM, count, Ordering::Release);
    }
}
