//! The pools: free folios, promises, and their numbers.
//!
//! ```text
//!   nr = free + in use        free >= reserved        surplus <= in use + reserved
//!        `-- persistent: nr - surplus, what `nr_hugepages` was set to
//!   free = those on the list + those that have failed while they were promised
//! ```
//! A pool of each size. What is *surplus* is in it for a user only, and leaves it with him: folios that were made when
//! the pool was empty, up to `nr_overcommit_hugepages`, and those in use when the pool was made smaller than that. They
//! go on the list of those that leave, from which whoever may sleep next gives them to the buddy allocator
//! ([`super::resize`]).
#![forbid(unsafe_code)]

use allocator_api2::vec::Vec;
use arch::sync::{SpinGuard, SpinLock};
use arch::{Cpu, Machine, VirtAddr};

use super::HugetlbError;
use super::failed::FailedFrames;
use super::hstate::HugeSize;
use crate::Mm;
use crate::error::OutOfMemory;
use crate::kalloc::{KAlloc, try_array};
use crate::locks::{HUGETLB_FAULT, HUGETLB_POOL, HUGETLB_RESIZE, SleepLock};
use crate::mapcount;
use crate::page::{Flags, FolioList, FolioRef, PageRef};

/// Fault locks: faults on slots that share one wait for each other.
const FAULT_LOCKS: usize = 64;

/// What a pool owns, under lock H.
#[derive(Debug)]
pub(super) struct Pool {
    /// Folios that nobody uses, count 0, and no page of which has failed.
    pub(super) free: FolioList,
    /// Others of which one has: each is promised, and waits for one that takes its place ([`super::poison`]).
    pub(super) failed: FolioList,
    /// Folios, free or in use.
    pub(super) nr: u64,
    /// Promises: folios of `free` that are kept for slots not mapped yet.
    pub(super) reserved: u64,
    /// Folios beyond the size that was asked for: no more than are in use or promised.
    pub(super) surplus: u64,
    /// `nr_overcommit_hugepages`: how many may be made surplus where the pool has none to spare.
    pub(super) overcommit: u64,
    /// Folios that are not of the pool any more, count 0, on their way to the buddy allocator.
    pub(super) leaving: FolioList,
    /// `demote_size`, where it was set: what its folios are divided into.
    pub(super) demote_size: Option<HugeSize>,
}

impl Pool {
    const fn new() -> Self {
        let (free, failed, leaving) = (FolioList::new(), FolioList::new(), FolioList::new());
        Pool { free, failed, nr: 0, reserved: 0, surplus: 0, overcommit: 0, leaving, demote_size: None }
    }
    /// Folios that nobody uses.
    pub(super) fn unused(&self) -> u64 {
        self.free.len() + self.failed.len()
    }
    /// Free folios that are not promised.
    pub(super) fn available(&self) -> u64 {
        debug_assert!(self.reserved <= self.unused(), "{self:?}: more promised than free");
        self.free.len().saturating_sub(self.reserved)
    }
    /// Folios that the pool keeps though nobody uses them.
    pub(super) fn persistent(&self) -> u64 {
        debug_assert!(self.surplus <= self.nr, "{self:?}: more surplus than there are");
        self.nr - self.surplus
    }
    /// A folio leaves the pool for good.
    pub(super) fn forget(&mut self) {
        self.nr -= 1;
        self.surplus = self.surplus.saturating_sub(1);
    }
    /// Sends away what has failed, as far as promises have others.
    pub(super) fn dismiss_failed(&mut self) {
        while self.unused() > self.reserved
            && let Some(folio) = self.failed.pop()
        {
            self.forget();
            self.leaving.push(folio);
        }
    }
    /// Sends away what has failed or is surplus, and that nobody needs any more.
    pub(super) fn settle(&mut self) {
        self.dismiss_failed();
        while self.surplus > 0 && self.available() > 0 {
            let Some(folio) = self.free.pop() else { return };
            self.nr -= 1;
            self.surplus -= 1;
            self.leaving.push(folio);
        }
    }
}

/// The hugetlb pools.
pub struct Hugetlb {
    /// H, by size.
    pools: Vec<SpinLock<Pool>, KAlloc>,
    /// F, by slot.
    faults: Vec<SleepLock, KAlloc>,
    /// Held while a pool is resized; no spinlock is held then.
    pub(super) resizing: SleepLock,
    /// Which pages of folios have failed.
    pub(crate) failed: FailedFrames,
}

/// The numbers of a pool, in folios, all read at one moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Counts {
    /// `nr_hugepages`: all.
    pub nr: u64,
    /// `free_hugepages`: not in use.
    pub free: u64,
    /// `resv_hugepages`: free, but promised.
    pub reserved: u64,
    /// `surplus_hugepages`: in use or promised, beyond the size asked for.
    pub surplus: u64,
    /// `nr_overcommit_hugepages`: most that may be made surplus on demand.
    pub overcommit: u64,
}

impl Counts {
    /// Folios that the pool keeps though nobody uses them: what `nr_hugepages` was set to, or as near as it got.
    #[must_use]
    pub const fn persistent(self) -> u64 {
        self.nr - self.surplus
    }
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
    /// Empty pools.
    ///
    /// # Errors
    /// [`OutOfMemory`].
    pub fn new() -> Result<Self, OutOfMemory> {
        Ok(Hugetlb {
            pools: try_array(HugeSize::ALL.len(), || SpinLock::new(HUGETLB_POOL, Pool::new()))?,
            faults: try_array(FAULT_LOCKS, || SleepLock::new(HUGETLB_FAULT))?,
            resizing: SleepLock::new(HUGETLB_RESIZE),
            failed: FailedFrames::new(),
        })
    }

    pub(super) fn lock(&self, size: HugeSize) -> SpinGuard<'_, Pool> {
        self.pools[size.index()].lock()
    }

    /// The numbers.
    #[must_use]
    pub fn counts(&self, size: HugeSize) -> Counts {
        let pool = self.lock(size);
        let Pool { nr, reserved, surplus, overcommit, .. } = *pool;
        Counts { nr, free: pool.unused(), reserved, surplus, overcommit }
    }

    /// Bytes of all folios of all pools.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        HugeSize::ALL.into_iter().map(|size| self.counts(size).nr * size.bytes()).sum()
    }

    /// Sets `nr_overcommit_hugepages`. Folios that are surplus already stay so.
    pub fn set_overcommit(&self, size: HugeSize, pages: u64) {
        self.lock(size).overcommit = pages;
    }

    /// Counts a surplus folio that there is not, for tests of the check.
    #[cfg(test)]
    pub(crate) fn miscount_surplus(&self, size: HugeSize) {
        self.lock(size).surplus += 1;
    }
    /// Takes a free folio out of the pool, promised or not, for tests of the check.
    #[cfg(test)]
    pub(crate) fn steal(&self, size: HugeSize) -> Option<FolioRef> {
        let mut pool = self.lock(size);
        pool.nr -= 1;
        pool.free.pop()
    }

    /// The lock under which one fault at a time handles the slot of `va` in a space, or the page at
    /// this offset of an object, by the number of either.
    pub(crate) fn fault_lock(&self, size: HugeSize, owner: u64, va: VirtAddr) -> &SleepLock {
        let slot = va.raw() / size.bytes();
        &self.faults[(owner.wrapping_add(slot) % FAULT_LOCKS as u64) as usize]
    }

    /// Takes a folio, count 0, contents undefined, of what the pool has. `None`: there is none that this claim may
    /// have.
    // Walk B.3: a folio leaves the pool.
    pub(super) fn take(&self, size: HugeSize, claim: Claim) -> Option<FolioRef> {
        let mut pool = self.lock(size);
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

    /// Gives back a folio that nobody uses, count 0, and the promise with it by which it was taken. One that has failed
    /// leaves, unless the promise needs it.
    pub(super) fn untake(&self, folio: FolioRef, claim: Claim) {
        let mut pool = self.lock(size_of(folio.page()));
        if folio.flags().contains(Flags::POISONED) {
            pool.failed.push(folio);
        } else {
            pool.free.push(folio);
        }
        if claim == Claim::Reserved {
            pool.reserved += 1;
        }
        pool.settle();
    }
}

/// The size of a hugetlb folio.
pub(super) fn size_of(head: PageRef) -> HugeSize {
    let size = HugeSize::from_order(head.order());
    debug_assert!(size.is_some(), "{head:?}: a hugetlb folio of no size");
    size.unwrap_or(HugeSize::DEFAULT)
}

/// A folio that is promised to nobody and for which `wanted` holds, contents undefined, with one reference: for what is
/// mapped elsewhere and moves here. Dropping the reference gives it back.
pub fn take_spare(mm: &Mm, size: HugeSize, wanted: impl FnMut(&PageRef) -> bool) -> Option<FolioRef> {
    let mut pool = mm.hugetlb.lock(size);
    if pool.available() == 0 {
        return None;
    }
    let folio = pool.free.take_first(wanted)?;
    folio.set_refcount(1);
    Some(folio)
}

/// Promises `pages` folios: all or none. Where the pool has too few, folios are made for it, surplus ones, as many as
/// `nr_overcommit_hugepages` allows. May sleep; no spinlock is held (Linux: `hugetlb_acct_memory`).
///
/// # Errors
/// [`HugetlbError::NotEnough`] (ENOMEM): so many are not free, or promised already.
pub fn reserve(mm: &Mm, size: HugeSize, pages: u64) -> Result<(), HugetlbError> {
    loop {
        let (missing, available) = {
            let mut pool = mm.hugetlb.lock(size);
            let available = pool.available();
            if pages <= available {
                pool.reserved += pages;
                return Ok(());
            }
            (pages - available, available)
        };
        if mm.hugetlb.grow_surplus(mm, size, missing) < missing {
            mm.hugetlb.trim(mm, size);
            return Err(HugetlbError::NotEnough { asked: pages, available });
        }
    }
}

/// Takes back `pages` promises that were not used.
pub fn unreserve(mm: &Mm, size: HugeSize, pages: u64) {
    let mut pool = mm.hugetlb.lock(size);
    debug_assert!(pages <= pool.reserved, "{pages} promises given back of {}", pool.reserved);
    pool.reserved -= pages;
    pool.settle();
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
