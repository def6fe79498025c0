//! Growing and shrinking the pool: the only way between it and the buddy allocator.
#![forbid(unsafe_code)]

use arch::{Cpu, Machine, Pfn};

use super::hstate::SIZE_2M;
use super::pool::Hugetlb;
use crate::Mm;
use crate::hvo::{self, BatchOutcome, HvoError, Switch};
use crate::page::{Flags, FolioRef, PageKind, PageRef, page_of};

/// Turns that a new folio waits for a walker of physical memory to drop its reference.
const FREEZE_TURNS: usize = 1000;

/// What a resize reached.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use = "the pool may have another size than was asked for"]
pub struct Resized {
    /// Folios in the pool now.
    pub nr: u64,
    /// Why a new folio could not be optimised: it is in the pool as it is.
    pub unoptimized: Option<HvoError>,
    /// Why a free folio could not be restored: it is still in the pool.
    pub unrestored: Option<HvoError>,
}

/// Up to [`hvo::BATCH`] folios that HVO treats together, owned.
struct Folios {
    owned: [Option<FolioRef>; hvo::BATCH],
    heads: Heads,
}

/// Views of up to [`hvo::BATCH`] folios.
struct Heads {
    views: [PageRef; hvo::BATCH],
    len: usize,
}

impl Folios {
    /// What `next` gives, up to `most` and the size of a batch.
    fn collect(most: u64, next: impl FnMut() -> Option<FolioRef>) -> Folios {
        let mut owned = [const { None }; hvo::BATCH];
        let most = usize::try_from(most).unwrap_or(usize::MAX).min(hvo::BATCH);
        for (place, folio) in owned[..most].iter_mut().zip(core::iter::from_fn(next)) {
            *place = Some(folio);
        }
        let heads = Heads::collect(owned.iter().flatten().map(FolioRef::page));
        Folios { owned, heads }
    }
    fn heads(&self) -> &[PageRef] {
        self.heads.as_slice()
    }
    fn into_owned(self) -> impl Iterator<Item = FolioRef> {
        self.owned.into_iter().flatten()
    }
}

impl Heads {
    /// At most [`hvo::BATCH`] folios.
    fn collect(folios: impl Iterator<Item = PageRef>) -> Heads {
        let mut heads = Heads { views: [page_of(Pfn::new(0)); hvo::BATCH], len: 0 };
        for (place, folio) in heads.views.iter_mut().zip(folios) {
            *place = folio;
            heads.len += 1;
        }
        heads
    }
    fn as_slice(&self) -> &[PageRef] {
        &self.views[..self.len]
    }
}

impl Hugetlb {
    /// Brings the pool to `n` folios, or as near as it can: memory may be short for more, and folios that are
    /// in use or promised are not given back. May sleep; no spinlock is held.
    pub fn set_nr(&self, mm: &Mm, n: u64) -> Resized {
        let _one = self.resizing.write(mm.env);
        let unoptimized = self.grow(mm, n);
        let unrestored = self.shrink(mm, n);
        Resized { nr: self.counts().nr, unoptimized, unrestored }
    }

    /// Optimises the free folios of the pool that are not, as many at a time as are not promised. May sleep; no
    /// spinlock is held.
    pub fn optimize_free(&self, mm: &Mm) -> BatchOutcome {
        self.treat_free(mm, |head| !is_optimized(head), hvo::optimize_folios)
    }

    /// Restores the free folios of the pool that are optimised, as many at a time as are not promised. May
    /// sleep; no spinlock is held.
    pub fn restore_free(&self, mm: &Mm) -> BatchOutcome {
        self.treat_free(mm, is_optimized, hvo::restore_folios)
    }

    /// Takes the folios that `wanted` chooses out of the pool, so that nobody else may have them, treats them
    /// and puts them back, a batch at a time; stops at the first error.
    fn treat_free(
        &self,
        mm: &Mm,
        wanted: fn(&PageRef) -> bool,
        treat: fn(&Mm, &[PageRef]) -> BatchOutcome,
    ) -> BatchOutcome {
        let _one = self.resizing.write(mm.env);
        let mut all = BatchOutcome { done: 0, first_error: None };
        while all.first_error.is_none() {
            let folios = self.detach(u64::MAX, wanted);
            if folios.heads().is_empty() {
                break;
            }
            let outcome = treat(mm, folios.heads());
            folios.into_owned().for_each(|folio| self.attach(folio));
            all = BatchOutcome { done: all.done + outcome.done, first_error: outcome.first_error };
        }
        all
    }

    fn grow(&self, mm: &Mm, n: u64) -> Option<HvoError> {
        let mut unoptimized = None;
        loop {
            let nr = self.counts().nr;
            unoptimized = unoptimized.or(self.grow_batch(mm, n.saturating_sub(nr)));
            if self.counts().nr <= nr {
                return unoptimized;
            }
        }
    }

    /// Adds up to a batch of folios, at most `most`.
    fn grow_batch(&self, mm: &Mm, most: u64) -> Option<HvoError> {
        let folios = Folios::collect(most, || self.new_folio(mm));
        let first_error = match mm.hvo.switch() {
            Switch::On => hvo::optimize_folios(mm, folios.heads()).first_error,
            Switch::Off => None,
        };
        let mut pool = self.lock();
        for folio in folios.into_owned() {
            pool.free.push(folio);
            pool.nr += 1;
        }
        first_error.map(|(_, error)| error)
    }

    /// A new folio, count 0; `None` where memory is out.
    fn new_folio(&self, mm: &Mm) -> Option<FolioRef> {
        let head = mm.alloc_pages(SIZE_2M.order(), PageKind::Hugetlb).ok()?;
        head.prep_compound(PageKind::Hugetlb, SIZE_2M.order(), mm.config.tails);
        for _ in 0..FREEZE_TURNS {
            if head.freeze(1) {
                return Some(head);
            }
            Machine::relax();
        }
        // Whoever drops the last reference puts it into the pool, not optimised.
        self.lock().nr += 1;
        mm.put_folio(head);
        None
    }

    fn shrink(&self, mm: &Mm, n: u64) -> Option<HvoError> {
        loop {
            let nr = self.counts().nr;
            let unrestored = self.shrink_batch(mm, nr.saturating_sub(n));
            if self.counts().nr >= nr {
                return unrestored;
            }
        }
    }

    /// Gives back up to a batch of free folios that are not promised, at most `most`.
    fn shrink_batch(&self, mm: &Mm, most: u64) -> Option<HvoError> {
        let folios = self.detach(most, |_| true);
        let optimized = Heads::collect(folios.heads().iter().copied().filter(is_optimized));
        let outcome = hvo::restore_folios(mm, optimized.as_slice());
        for folio in folios.into_owned() {
            if is_optimized(&folio) {
                self.attach(folio);
            } else {
                mm.free_pages(folio, SIZE_2M.order());
            }
        }
        outcome.first_error.map(|(_, error)| error)
    }

    /// Takes up to a batch of free folios that are not promised and `wanted` out of the pool, at most `most`.
    fn detach(&self, most: u64, wanted: fn(&PageRef) -> bool) -> Folios {
        let mut pool = self.lock();
        let most = most.min(pool.available());
        let folios = Folios::collect(most, || pool.free.take_first(wanted));
        pool.nr -= folios.heads().len() as u64;
        folios
    }

    fn attach(&self, folio: FolioRef) {
        let mut pool = self.lock();
        pool.free.push(folio);
        pool.nr += 1;
    }
}

fn is_optimized(head: &PageRef) -> bool {
    head.flags().contains(Flags::HVO)
}
