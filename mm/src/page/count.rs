//! The counts of a folio: references and mappings. Pins have their own file, `pins`.
//!
//! A reference keeps the folio from being freed. Anybody may try to take one at any time, of any pfn
//! ([`PageRef::try_get`]): that is how code works that walks physical memory without a lock. The count is
//! read first, and the compare-and-swap is not attempted on zero, since a compare-and-swap needs write
//! permission even where it fails, and a tail may be mapped read-only. Interrupts stay masked from that read
//! to the compare-and-swap: whoever maps struct pages read-only first holds every CPU, or waits until each has
//! been seen with its interrupts open ([`crate::env::KernelEnv::grace_period`]), so a count that was read as live
//! cannot belong to a read-only tail by the time it is swapped (Linux closes the same race by an RCU grace period,
//! commit bd225530a4c7).
#![forbid(unsafe_code)]

use core::mem::offset_of;
use core::sync::atomic::Ordering;

use arch::{Cpu, Machine};

use super::{FolioRef, Page, PageRef};

const REFCOUNT: usize = offset_of!(Page, refcount);
const MAPCOUNT: usize = offset_of!(Page, mapcount);

/// From here on no entry is made that would hold one more (Linux: a reference count that has become negative). Beyond
/// it there is room for every CPU to add those of a whole folio at once.
pub const MOST_REFERENCES: u32 = 1 << 31;

/// What dropping a reference left behind.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use = "the last reference must free the folio"]
pub enum LastRef {
    /// The count is 0 now: the caller frees the folio.
    Yes,
    /// Somebody else still holds it.
    No,
}

impl PageRef {
    /// References to the folio. 0: free, frozen, or a tail.
    #[must_use]
    pub fn refcount(self) -> u32 {
        self.load_32(REFCOUNT, Ordering::Acquire)
    }
    /// Sets the count. Only for a page that nobody else can hold, or that was frozen by the caller.
    pub fn set_refcount(self, n: u32) {
        self.store_32(REFCOUNT, n, Ordering::Release);
    }
    /// Takes one more reference. The caller holds one already.
    pub(crate) fn get(self) -> FolioRef {
        let old = self.fetch_add_32(REFCOUNT, 1);
        debug_assert!(old != 0, "{self:?}: a reference taken from none");
        FolioRef::from_raw(self)
    }
    /// Takes `n` more references, 1..=2^18, which entries of a table will remember, unless there are
    /// [`MOST_REFERENCES`] or more already. The caller holds one. Says whether they were taken.
    #[must_use]
    pub(crate) fn try_get_many(self, n: u32) -> bool {
        let old = self.fetch_add_32(REFCOUNT, n);
        debug_assert!(old != 0, "{self:?}: references taken from none");
        if old >= MOST_REFERENCES {
            self.fetch_sub_32(REFCOUNT, n);
        }
        old < MOST_REFERENCES
    }
    /// Takes one more reference, unless there are [`MOST_REFERENCES`] or more already. The caller holds one, or a lock
    /// that keeps one.
    #[must_use]
    pub(crate) fn get_unless_full(self) -> Option<FolioRef> {
        self.try_get_many(1).then(|| FolioRef::from_raw(self))
    }
    /// Takes `n` more references, which entries of a table will remember. The caller holds one already.
    pub(crate) fn get_many(self, n: u32) {
        let old = self.fetch_add_32(REFCOUNT, n);
        debug_assert!(old != 0, "{self:?}: references taken from none");
    }
    /// Drops `n` references of more than `n`, which entries of a table have remembered: the last one is not among them.
    pub(crate) fn put_many(self, n: u32) {
        let old = self.fetch_sub_32(REFCOUNT, n);
        debug_assert!(old > n, "{self:?}: {n} references dropped of {old}, and one more was held");
    }
    /// Takes a reference if the folio has any (Linux: `folio_try_get`). The page is a head or a single page;
    /// for a pfn of which nothing is known, see [`crate::Mm::try_get_folio`].
    #[must_use]
    pub fn try_get(self) -> Option<FolioRef> {
        let irq = Machine::mask_irqs();
        let got = self.try_get_masked();
        Machine::restore_irqs(irq);
        got
    }
    /// As [`Self::try_get`]. The caller has masked interrupts.
    pub(super) fn try_get_masked(self) -> Option<FolioRef> {
        let mut count = self.refcount();
        while count != 0 {
            match self.compare_exchange_32(REFCOUNT, count, count + 1) {
                Ok(_) => return Some(FolioRef::from_raw(self)),
                Err(now) => count = now,
            }
        }
        None
    }
    /// Sets the count from `expected` to 0, so that nobody can take a reference (Linux: `folio_ref_freeze`).
    /// Fails where anybody else holds one.
    #[must_use]
    pub fn freeze(self, expected: u32) -> bool {
        self.compare_exchange_32(REFCOUNT, expected, 0).is_ok()
    }
    /// As [`Self::freeze`], of each of the `n` single pages from here, up to the first where it fails. Returns how many
    /// are frozen.
    #[must_use]
    pub(crate) fn freeze_run(self, n: u64, expected: u32) -> u64 {
        (0..n).find(|&k| !self.nth(k).freeze(expected)).unwrap_or(n)
    }
    /// Sets the counts of the `n` single pages from here, which the caller has frozen.
    pub(crate) fn thaw_run(self, n: u64, count: u32) {
        (0..n).for_each(|k| self.nth(k).set_refcount(count));
    }

    /// Leaf entries that map the page or folio; see [`crate::mapcount`].
    #[must_use]
    pub fn raw_mapcount(self) -> u32 {
        self.load_32(MAPCOUNT, Ordering::Acquire)
    }
    /// Adds mappings and returns how many there were.
    pub(crate) fn add_raw_mapcount(self, n: u32) -> u32 {
        self.fetch_add_32(MAPCOUNT, n)
    }
    /// Removes mappings and returns how many there were.
    pub(crate) fn sub_raw_mapcount(self, n: u32) -> u32 {
        let old = self.fetch_sub_32(MAPCOUNT, n);
        debug_assert!(old >= n, "{self:?}: {n} mappings removed of {old}");
        old
    }
    /// Sets the number of mappings. Only while the page-table lock of every mapping is held.
    pub(crate) fn set_raw_mapcount(self, n: u32) {
        self.store_32(MAPCOUNT, n, Ordering::Release);
    }
}

impl FolioRef {
    /// Drops the reference, and says whether it was the last. [`crate::Mm::put_folio`] is for everybody who does
    /// not know that it is not.
    #[inline]
    pub(crate) fn put(self) -> LastRef {
        self.put_with(0)
    }
    /// The same, and `others` more references at once, which entries of a table have remembered.
    #[inline]
    pub(crate) fn put_with(self, others: u32) -> LastRef {
        let page = self.into_raw();
        let old = page.fetch_sub_32(REFCOUNT, 1 + others);
        debug_assert!(old > others, "{page:?}: 1 + {others} references dropped of {old}");
        if old == 1 + others { LastRef::Yes } else { LastRef::No }
    }
}
