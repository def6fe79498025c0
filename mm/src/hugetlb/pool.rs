//! The pool: free folios, promises, and their numbers.
#![forbid(unsafe_code)]

use arch::sync::{SpinGuard, SpinLock};
use arch::{Cpu, Machine, VirtAddr};

use super::HugetlbError;
use super::hstate::SIZE_2M;
use crate::Mm;
use crate::locks::{HUGETLB_FAULT, HUGETLB_POOL, HUGETLB_RESIZE, SleepLock};
use crate::mapcount;
use crate::page::{FolioList, FolioRef, PageRef};

/// Fault locks: faults on slots that share one wait for each other.
const FAULT_LOCKS: usize = 8;

/// What the pool owns, under lock H.
#[derive(Debug)]
pub(super) struct Pool {
    /// Folios that nobody uses, count 0.
    pub(super) free: FolioList,
    /// Folios, free or in use.
    pub(super) nr: u64,
    /// Promises: folios of `free` that are kept for slots not mapped yet.
    pub(super) reserved: u64,
    /// Folios in use beyond the size that was asked for. Shrinking stops at what is in use, so there are
    /// none.
    pub(super) surplus: u64,
}

impl Pool {
    /// Free folios that are not promised.
    pub(super) fn available(&self) -> u64 {
        debug_assert!(self.reserved <= self.free.len(), "{self:?}: more promised than free");
        self.free.len() - self.reserved
    }
}

/// The hugetlb pool of 2 MiB folios.
pub struct Hugetlb {
    /// H.
    pool: SpinLock<Pool>,
    /// F, by slot.
    faults: [SleepLock; FAULT_LOCKS],
    /// Held while the pool is resized; taken before every other lock.
    pub(super) resizing: SleepLock,
}

/// The numbers of the pool, in folios, all read at one moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Counts {
    /// `nr_hugepages`: all.
    pub nr: u64,
    /// `free_hugepages`: not in use.
    pub free: u64,
    /// `resv_hugepages`: free, but promised.
    pub reserved: u64,
    /// `surplus_hugepages`: in use beyond the size asked for.
    pub surplus: u64,
}

/// By what right a slot gets its folio.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Claim {
    /// The slot was promised one at mmap.
    Reserved,
    /// It was not (MAP_NORESERVE).
    Unreserved,
}

impl Hugetlb {
    /// An empty pool.
    #[must_use]
    pub const fn new() -> Self {
        let pool = Pool { free: FolioList::new(), nr: 0, reserved: 0, surplus: 0 };
        Hugetlb {
            pool: SpinLock::new(HUGETLB_POOL, pool),
            faults: [const { SleepLock::new(HUGETLB_FAULT) }; FAULT_LOCKS],
            resizing: SleepLock::new(HUGETLB_RESIZE),
        }
    }

    pub(super) fn lock(&self) -> SpinGuard<'_, Pool> {
        self.pool.lock()
    }

    /// The numbers.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let pool = self.lock();
        Counts { nr: pool.nr, free: pool.free.len(), reserved: pool.reserved, surplus: pool.surplus }
    }

    /// Counts a surplus folio that there is not, for tests of the check.
    #[cfg(test)]
    pub(crate) fn miscount_surplus(&self) {
        self.lock().surplus += 1;
    }
    /// Takes a free folio out of the pool, promised or not, for tests of the check.
    #[cfg(test)]
    pub(crate) fn steal(&self) -> Option<FolioRef> {
        let mut pool = self.lock();
        pool.nr -= 1;
        pool.free.pop()
    }

    /// The lock under which one fault at a time handles the slot of `va` in the space `space_id`.
    pub(super) fn fault_lock(&self, space_id: u64, va: VirtAddr) -> &SleepLock {
        let slot = va.raw() / SIZE_2M.bytes();
        &self.faults[(space_id.wrapping_add(slot) % FAULT_LOCKS as u64) as usize]
    }

    /// Takes a folio, count 0, contents undefined. `None`: there is none that this claim may have.
    // Walk B.3: a folio leaves the pool.
    pub(super) fn take(&self, claim: Claim) -> Option<FolioRef> {
        let mut pool = self.lock();
        let allowed = match claim {
            Claim::Reserved => pool.reserved > 0,
            Claim::Unreserved => pool.available() > 0,
        };
        let folio = allowed.then(|| pool.free.pop()).flatten()?;
        if claim == Claim::Reserved {
            pool.reserved -= 1;
        }
        Some(folio)
    }

    /// Gives back a folio that nobody uses, count 0, and the promise with it by which it was taken.
    pub(super) fn untake(&self, folio: FolioRef, claim: Claim) {
        let mut pool = self.lock();
        pool.free.push(folio);
        if claim == Claim::Reserved {
            pool.reserved += 1;
        }
    }
}

impl Default for Hugetlb {
    fn default() -> Self {
        Self::new()
    }
}

/// A folio that is promised to nobody and for which `wanted` holds, contents undefined, with one reference: for what is
/// mapped elsewhere and moves here. Dropping the reference gives it back.
pub fn take_spare(mm: &Mm, wanted: impl FnMut(&PageRef) -> bool) -> Option<FolioRef> {
    let mut pool = mm.hugetlb.lock();
    if pool.available() == 0 {
        return None;
    }
    let folio = pool.free.take_first(wanted)?;
    folio.set_refcount(1);
    Some(folio)
}

/// Promises `pages` folios: all or none.
///
/// # Errors
/// [`HugetlbError::NotEnough`] (ENOMEM): so many are not free, or promised already.
pub fn reserve(mm: &Mm, pages: u64) -> Result<(), HugetlbError> {
    let mut pool = mm.hugetlb.lock();
    let available = pool.available();
    if pages > available {
        return Err(HugetlbError::NotEnough { asked: pages, available });
    }
    pool.reserved += pages;
    Ok(())
}

/// Takes back `pages` promises that were not used.
pub fn unreserve(mm: &Mm, pages: u64) {
    let mut pool = mm.hugetlb.lock();
    debug_assert!(pages <= pool.reserved, "{pages} promises given back of {}", pool.reserved);
    pool.reserved -= pages;
}

/// Puts a hugetlb folio, whose last reference was dropped, back into the pool. Takes lock H only: it may be
/// called under a page-table lock.
pub fn free_folio(mm: &Mm, head: FolioRef) {
    retire(mm, &head);
    mm.hugetlb.untake(head, Claim::Unreserved);
}

/// Puts a hugetlb folio back into the pool that no entry maps any more, and promises it to the slot that it has left:
/// in one step, so that nobody can have it in between. The reference is the last one, but for those that walkers of
/// physical memory hold for a moment without sleeping; they are waited for. No spinlock is held.
pub(crate) fn take_back(mm: &Mm, head: FolioRef) {
    while !head.freeze(1) {
        Machine::relax();
    }
    retire(mm, &head);
    mm.hugetlb.untake(head, Claim::Reserved);
}

/// A folio without references is nobody's.
fn retire(mm: &Mm, head: &FolioRef) {
    mapcount::free(mm, head.page());
    debug_assert!(head.refcount() == 0 && head.raw_mapcount() == 0, "{head:?}: freed in use");
    head.set_mapping(0, 0);
}
