//! Growing and shrinking the pools: with `replace` the only way between them and the buddy allocator.
//!
//! | | asks for | gets |
//! |---|---|---|
//! | `set_nr` to more | persistent folios | surplus ones that become persistent, then new ones, as far as memory goes |
//! | `set_nr` to fewer | fewer persistent ones | free ones that are not promised go; of the others as many as are too many are surplus from now on |
//! | a promise, or a fault without one, of a pool that has none to spare | surplus folios | new ones, up to `nr_overcommit_hugepages` |
//!
//! (Linux: `set_max_huge_pages`, `alloc_surplus_hugetlb_folio`.) Folios of up to 4 MiB are blocks of the buddy
//! allocator; larger ones, and 2 MiB where no block is free, are made by moving away what is in a range
//! ([`crate::rmap`], `alloc_contig`). HVO treats all but the smallest.
#![forbid(unsafe_code)]

use arch::{Cpu, Machine, Order};

use super::hstate::HugeSize;
use super::pool::{Claim, Hugetlb, Pool, size_of};
use crate::Mm;
use crate::buddy::MAX_ORDER;
use crate::hvo::layout::Layout;
use crate::hvo::{self, BatchOutcome, HvoError, Switch};
use crate::page::{Flags, FolioList, FolioRef, PageKind, PageRef};

/// Turns that a new folio waits for a walker of physical memory to drop its reference.
const FREEZE_TURNS: usize = 1000;

/// What a resize reached.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use = "the pool may have another size than was asked for"]
pub struct Resized {
    /// Folios that the pool keeps now, whoever uses them.
    pub persistent: u64,
    /// Why a new folio could not be optimised: it is in the pool as it is.
    pub unoptimized: Option<HvoError>,
    /// Why a free folio could not be restored: it is still in the pool.
    pub unrestored: Option<HvoError>,
}

/// Entries of vmemmap that belong to the folios which HVO treats as one list: 16 of 1 GiB.
const LIST_ENTRIES: u64 = 16 * hvo::MOST_ENTRIES;

/// Folios that HVO treats together, owned.
pub(super) struct Folios(FolioList);

impl Folios {
    /// What `next` gives of this size, up to `most` and the length of a list.
    pub(super) fn collect(size: HugeSize, most: u64, next: impl FnMut() -> Option<FolioRef>) -> Folios {
        let most = usize::try_from(most.min(list_of(size))).unwrap_or(usize::MAX);
        let mut folios = FolioList::new();
        core::iter::from_fn(next).take(most).for_each(|folio| folios.push(folio));
        Folios(folios)
    }
    /// How many.
    pub(super) fn len(&self) -> u64 {
        self.0.len()
    }
    /// Whether there is none.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
    /// Views of all.
    pub(super) fn heads(&self) -> impl Iterator<Item = PageRef> + '_ {
        self.0.iter()
    }
    /// All, in the order in which they were collected.
    pub(super) fn into_owned(mut self) -> impl Iterator<Item = FolioRef> {
        let mut turned = FolioList::new();
        while let Some(folio) = self.0.pop() {
            turned.push(folio);
        }
        core::iter::from_fn(move || turned.pop())
    }
}

/// Folios of this size on one list.
fn list_of(size: HugeSize) -> u64 {
    LIST_ENTRIES / Layout::of(size.order()).map_or(1, Layout::freed)
}

impl Hugetlb {
    /// Brings the pool to `n` persistent folios, or as near as it can: memory may be short for more, and what is in
    /// use or promised stays, as surplus. May sleep; no spinlock is held.
    pub fn set_nr(&self, mm: &Mm, size: HugeSize, n: u64) -> Resized {
        let _one = self.resizing.write(mm.env);
        let unoptimized = self.grow(mm, size, n);
        let unrestored = self.shrink(mm, size, n);
        Resized { persistent: self.counts(size).persistent(), unoptimized, unrestored }
    }

    /// Optimises the free folios of all pools that are not, as many at a time as are not promised. May sleep; no
    /// spinlock is held.
    pub fn optimize_free(&self, mm: &Mm) -> BatchOutcome {
        self.treat_free(mm, |head| !is_optimized(head), |folios| hvo::optimize_folios(mm, folios.heads()))
    }

    /// Restores the free folios of all pools that are optimised, as many at a time as are not promised. May sleep; no
    /// spinlock is held.
    pub fn restore_free(&self, mm: &Mm) -> BatchOutcome {
        self.treat_free(mm, is_optimized, |folios| hvo::restore_folios(mm, folios.heads()))
    }

    /// Takes the folios that `wanted` chooses out of their pools, so that nobody else may have them, treats them and puts
    /// them back, a list at a time; stops at the first error.
    fn treat_free(
        &self,
        mm: &Mm,
        wanted: fn(&PageRef) -> bool,
        treat: impl Fn(&Folios) -> BatchOutcome,
    ) -> BatchOutcome {
        let _one = self.resizing.write(mm.env);
        let mut all = BatchOutcome { done: 0, first_error: None };
        for size in HugeSize::ALL.into_iter().filter(|size| Layout::of(size.order()).is_ok()) {
            while all.first_error.is_none() {
                let folios = self.detach(size, u64::MAX, wanted);
                if folios.is_empty() {
                    break;
                }
                let outcome = treat(&folios);
                folios.into_owned().for_each(|folio| self.attach(folio));
                all = BatchOutcome { done: all.done + outcome.done, first_error: outcome.first_error };
            }
        }
        all
    }

    fn grow(&self, mm: &Mm, size: HugeSize, n: u64) -> Option<HvoError> {
        let mut unoptimized = None;
        loop {
            let persistent = {
                let mut pool = self.lock(size);
                pool.surplus -= n.saturating_sub(pool.persistent()).min(pool.surplus);
                pool.persistent()
            };
            unoptimized = unoptimized.or(self.grow_batch(mm, size, n.saturating_sub(persistent)));
            if self.counts(size).persistent() <= persistent {
                return unoptimized;
            }
        }
    }

    /// Adds up to a batch of folios, at most `most`.
    fn grow_batch(&self, mm: &Mm, size: HugeSize, most: u64) -> Option<HvoError> {
        let folios = Folios::collect(size, most, || self.new_folio(mm, size, |pool| pool.nr += 1));
        self.add(mm, size, folios)
    }

    /// Puts new folios into the pool, optimised where that is to be done. Returns why one was not.
    pub(super) fn add(&self, mm: &Mm, size: HugeSize, folios: Folios) -> Option<HvoError> {
        let unoptimized = optimize(mm, size, folios.heads());
        let mut pool = self.lock(size);
        for folio in folios.into_owned() {
            pool.free.push(folio);
            pool.nr += 1;
        }
        unoptimized
    }

    /// Adds up to `most` surplus folios, free ones, as far as `nr_overcommit_hugepages` and memory go. Returns how
    /// many. May sleep.
    pub(super) fn grow_surplus(&self, mm: &Mm, size: HugeSize, most: u64) -> u64 {
        let _one = self.resizing.write(mm.env);
        let mut made = 0;
        while made < most {
            let room = {
                let pool = self.lock(size);
                pool.overcommit.saturating_sub(pool.surplus)
            };
            let folios =
                Folios::collect(size, (most - made).min(room), || self.new_folio(mm, size, count_surplus));
            if folios.is_empty() {
                break;
            }
            made += folios.len();
            optimize(mm, size, folios.heads());
            let mut pool = self.lock(size);
            for folio in folios.into_owned() {
                pool.free.push(folio);
                count_surplus(&mut pool);
            }
            pool.dismiss_failed();
        }
        made
    }

    /// As [`Hugetlb::take`]; where the pool has none to spare, a surplus one is made for whoever was promised none, and
    /// for whoever was promised one that has failed since, another one; and once more, where somebody else was faster
    /// to take it. May sleep; no spinlock is held (Linux: `alloc_hugetlb_folio`).
    pub(crate) fn take_or_make(&self, mm: &Mm, size: HugeSize, claim: Claim) -> Option<FolioRef> {
        loop {
            let taken = self.take(size, claim);
            if taken.is_some() {
                return taken;
            }
            let made = match claim {
                Claim::Unreserved => self.grow_surplus(mm, size, 1) != 0,
                Claim::Reserved => self.replace_failed(mm, size),
            };
            if !made {
                // One that a walker of physical memory held may have come late.
                return self.take(size, claim);
            }
        }
    }

    /// A new folio, count 0; `None` where memory is out. One that a walker of physical memory holds for too long comes
    /// into the pool when he lets it go, and is counted by `count`.
    pub(super) fn new_folio(&self, mm: &Mm, size: HugeSize, count: fn(&mut Pool)) -> Option<FolioRef> {
        let order = size.order();
        let block = match order {
            order if order > MAX_ORDER => None,
            order => mm.alloc_pages(order, PageKind::Hugetlb).ok(),
        };
        let block = match block {
            None if order >= Order::PMD => mm.alloc_contig(order, PageKind::Hugetlb).ok(),
            block => block,
        };
        self.enroll(mm, size, block?, count)
    }

    /// Makes a folio, count 0, of a block that was just given out, as [`Self::new_folio`].
    pub(super) fn enroll(
        &self,
        mm: &Mm,
        size: HugeSize,
        head: FolioRef,
        count: fn(&mut Pool),
    ) -> Option<FolioRef> {
        head.prep_compound(PageKind::Hugetlb, size.order(), mm.config.tails);
        for _ in 0..FREEZE_TURNS {
            if head.freeze(1) {
                return Some(head);
            }
            Machine::relax();
        }
        count(&mut self.lock(size));
        mm.put_folio(head);
        None
    }

    fn shrink(&self, mm: &Mm, size: HugeSize, n: u64) -> Option<HvoError> {
        let unrestored = loop {
            let persistent = self.counts(size).persistent();
            let folios = self.detach(size, persistent.saturating_sub(n), |_| true);
            let unrestored = self.give_back(mm, folios, |folio| self.attach(folio));
            if self.counts(size).persistent() >= persistent {
                break unrestored;
            }
        };
        if unrestored.is_none() {
            let mut pool = self.lock(size);
            pool.surplus += pool.persistent().saturating_sub(n);
            pool.settle();
        }
        unrestored.or_else(|| self.release_leaving(mm, size))
    }

    /// Gives folios that left their pool to the buddy allocator; those that cannot be restored to `back`, and why.
    pub(super) fn give_back(&self, mm: &Mm, folios: Folios, back: impl Fn(FolioRef)) -> Option<HvoError> {
        let outcome = hvo::restore_folios(mm, folios.heads().filter(is_optimized));
        for folio in folios.into_owned() {
            if is_optimized(&folio) {
                back(folio);
            } else {
                self.give_up(mm, folio);
            }
        }
        outcome.first_error.map(|(_, error)| error)
    }

    /// Gives what is leaving the pool to the buddy allocator. Returns why a folio could not be restored, and waits for
    /// another turn. With the right to resize.
    pub(super) fn release_leaving(&self, mm: &Mm, size: HugeSize) -> Option<HvoError> {
        loop {
            let left = self.lock(size).leaving.len();
            let folios = Folios::collect(size, left, || self.lock(size).leaving.pop());
            let unrestored = self.give_back(mm, folios, |folio| self.lock(size).leaving.push(folio));
            if self.lock(size).leaving.len() >= left {
                return unrestored;
            }
        }
    }

    /// Gives surplus folios that nobody needs any more to the buddy allocator. May sleep; no spinlock is held, nor a
    /// sleeping lock of rank 13 or above.
    pub(crate) fn trim(&self, mm: &Mm, size: HugeSize) {
        let leaving = {
            let mut pool = self.lock(size);
            pool.settle();
            !pool.leaving.is_empty()
        };
        if leaving {
            let _one = self.resizing.write(mm.env);
            // What cannot be restored now stays on the list.
            let _ = self.release_leaving(mm, size);
        }
    }

    /// Takes up to a batch of free folios that are not promised and `wanted` out of the pool, at most `most`.
    pub(super) fn detach(&self, size: HugeSize, most: u64, wanted: fn(&PageRef) -> bool) -> Folios {
        let mut pool = self.lock(size);
        let most = most.min(pool.available());
        let folios = Folios::collect(size, most, || pool.free.take_first(wanted));
        pool.nr -= folios.len();
        folios
    }

    /// Puts a free folio into its pool.
    pub(crate) fn attach(&self, folio: FolioRef) {
        let mut pool = self.lock(size_of(folio.page()));
        pool.free.push(folio);
        pool.nr += 1;
    }
}

/// A folio came that the pool keeps for its user only.
pub(super) fn count_surplus(pool: &mut Pool) {
    pool.nr += 1;
    pool.surplus += 1;
}

/// Optimises new folios, where that is to be done. Returns why one was not.
pub(super) fn optimize(
    mm: &Mm,
    size: HugeSize,
    heads: impl IntoIterator<Item = PageRef>,
) -> Option<HvoError> {
    match mm.hvo.switch() {
        Switch::On if Layout::of(size.order()).is_ok() => {
            hvo::optimize_folios(mm, heads).first_error.map(|(_, error)| error)
        }
        Switch::On | Switch::Off => None,
    }
}

pub(super) fn is_optimized(head: &PageRef) -> bool {
    head.flags().contains(Flags::HVO)
}
