//! Memory failure: a frame of a hugetlb folio has gone bad, and nobody may read what it held.
//!
//! ```text
//!   in use    the head is marked, the page noted; all entries go (`rmap::failed`); last reference ---.
//!   free      the head is marked, the page noted ----------------------------------------------------+--> leaves its pool
//!   promised  the same; another folio takes its place first, where there is memory for one ----------'        |
//!                                                                                 struct pages are restored   v
//!             frames of the folio:   | good ... good | FAILED | good ......... good |   good ones: buddy allocator
//! ```
//! **Guarantee.** A frame that has failed is given to nobody again: it lies in a folio whose head says so, and is of kind
//! [`PageKind::Failed`] as soon as the folio has been taken apart. All other memory of the folio comes back, and every
//! frame is always somewhere. Who touches the page gets an error, never zeros; which one is in [`crate::fault`] and
//! [`crate::shmem`]. Nothing here fails for want of memory:
//!
//! | no memory for | then |
//! |---|---|
//! | tables, to take out 4 KiB alone | the whole page is taken out; faults map the rest again |
//! | the note which page it is | all of the folio counts as failed, and is never used again |
//! | another folio for a promise | the failed one stays in the pool for the promise; the fault that wants it tries again, and is SIGBUS where there is still no memory |
//! | the struct pages of the folio | it waits with those that are leaving, as any folio does |
//!
//! **Promises.** Linux does not take a promised folio out (`dissolve_free_hugetlb_folio`: EBUSY), counts it as free, and
//! passes it over when the promise is to be kept, which then is SIGBUS. Here a new one is made for it, at once or
//! later; so `resv_hugepages` is never more than `free_hugepages`, and SIGBUS only where memory is out.
//!
//! **Pins** and other references keep a folio that was taken out of the tables; it leaves when they go.
//!
//! Only memory of hugetlb can fail here. Linux: `memory_failure`, `try_memory_failure_hugetlb`, `me_huge_page`.
#![forbid(unsafe_code)]

use core::fmt;
use core::ops::Range;

use arch::{Cpu, Machine, Pfn};

use super::failed::Seen;
pub(crate) use super::failed::is_unreliable;
use super::hstate::HugeSize;
use super::pool::{Hugetlb, size_of};
use super::resize::{count_surplus, optimize};
use crate::Mm;
use crate::page::{Flags, FolioRef, PageKind, PageRef, page_of};
use crate::rmap::Still;

/// Turns that a failure waits for somebody who has a folio in hand that is in no list and no table.
const TURNS: usize = 100_000;

/// What became of a frame that failed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use = "the frame may be somebody's yet"]
pub enum Outcome {
    /// It had failed before: nothing changed (Linux: EHWPOISON).
    Known,
    /// It is nobody's, and the rest of its folio is free.
    Retired,
    /// No entry maps it; its object, a pin or another reference has the folio until it goes.
    Held,
    /// Nobody uses it. Its folio stays as it is until there is memory: for another one that a promise asks for, or for
    /// its struct pages.
    Waiting,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Outcome::Known => "it had failed before",
            Outcome::Retired => "it is out of use, and the rest of its folio is free",
            Outcome::Held => "nobody maps it any more; its folio goes with the last who holds it",
            Outcome::Waiting => "nobody uses it; its folio waits for memory",
        })
    }
}

/// Why a failure was not handled. Nothing has changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PoisonError {
    /// The frame is no RAM (ENXIO).
    NoRam(Pfn),
    /// It is no memory of hugetlb: what else fails cannot be handled here (EOPNOTSUPP).
    NotHugetlb(Pfn, PageKind),
    /// Somebody has had it in hand for too long (EBUSY).
    Busy(Pfn),
}

impl fmt::Display for PoisonError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PoisonError::NoRam(pfn) => write!(f, "frame {pfn} is no RAM"),
            PoisonError::NotHugetlb(pfn, kind) => {
                write!(f, "frame {pfn} is of kind {}, and only that of hugetlb may fail here", kind.name())
            }
            PoisonError::Busy(pfn) => write!(f, "frame {pfn} is about to be given to somebody"),
        }
    }
}

/// Which of these pages of the folio with this head, by their numbers in it, is the first that has failed. One load
/// where none has. Under any lock of rank 60 or below: who holds T of a tree that is to map the page gets an answer
/// that stays true of all entries that he makes, as a failure says so first and takes all entries away then.
#[must_use]
pub(crate) fn first_in(mm: &Mm, head: PageRef, pages: Range<u64>) -> Option<u64> {
    mm.hugetlb.failed.first_in(head, pages)
}

/// Whether a page of the folio with this head has failed.
#[must_use]
pub(crate) fn has_failed(mm: &Mm, head: PageRef, page: PageRef) -> bool {
    let n = page.pfn().offset_from(head.pfn());
    first_in(mm, head, n..n + 1).is_some()
}

/// Whether any page of the folio with this head has failed. One load.
#[must_use]
pub(crate) fn any_in(head: PageRef) -> bool {
    head.flags().contains(Flags::POISONED)
}

impl Mm {
    /// The frame has failed: whatever it held is lost. It must be of hugetlb. May sleep; no spinlock is held, nor a
    /// sleeping lock of rank 13 or above.
    ///
    /// # Errors
    /// [`PoisonError`]; nothing has changed.
    pub fn memory_failure(&self, pfn: Pfn) -> Result<Outcome, PoisonError> {
        if !self.pfn_valid(pfn) {
            return Err(PoisonError::NoRam(pfn));
        }
        let _one = self.hugetlb.resizing.write(self.env);
        for _ in 0..TURNS {
            if let Some(folio) = self.try_get_folio(pfn) {
                return self.fail_held(folio, pfn);
            }
            let head = page_of(pfn).head(self.config.tails);
            if head.kind() != PageKind::Hugetlb || !head.flags().contains(Flags::HEAD) {
                return Err(PoisonError::NotHugetlb(pfn, head.kind()));
            }
            if let Some(outcome) = self.hugetlb.fail_unused(self, head, pfn) {
                return Ok(outcome);
            }
            // A fault, or who makes a folio, has it in hand.
            Machine::relax();
        }
        Err(PoisonError::Busy(pfn))
    }

    /// As [`Self::memory_failure`], of a frame of a folio to which the caller gives a reference.
    ///
    /// # Errors
    /// [`PoisonError::NotHugetlb`].
    pub(crate) fn memory_failure_of(&self, folio: FolioRef, pfn: Pfn) -> Result<Outcome, PoisonError> {
        let _one = self.hugetlb.resizing.write(self.env);
        self.fail_held(folio, pfn)
    }

    /// The right to resize is held.
    fn fail_held(&self, folio: FolioRef, pfn: Pfn) -> Result<Outcome, PoisonError> {
        let (head, kind) = (folio.page(), folio.kind());
        if kind != PageKind::Hugetlb {
            self.put_folio(folio);
            return match kind {
                PageKind::Failed => Ok(Outcome::Known),
                kind => Err(PoisonError::NotHugetlb(pfn, kind)),
            };
        }
        let (size, room) = (size_of(head), self.hugetlb.failed.prepare());
        let (still, n) = (Still::hold(self, head), pfn.offset_from(head.pfn()));
        let tables = still.tables(n);
        let seen = self.hugetlb.failed.add(head, n, room);
        if seen == Seen::First {
            still.unmap(n, tables);
        }
        drop(still);
        self.put_folio(folio);
        self.hugetlb.tidy(self, size);
        Ok(if seen == Seen::First { self.outcome(pfn) } else { Outcome::Known })
    }

    /// What became of a frame that has just failed.
    fn outcome(&self, pfn: Pfn) -> Outcome {
        let head = page_of(pfn).head(self.config.tails);
        match head.kind() {
            PageKind::Failed => Outcome::Retired,
            _ if head.refcount() != 0 => Outcome::Held,
            _ => Outcome::Waiting,
        }
    }

    /// How many frames have failed (Linux: `HardwareCorrupted` of meminfo, in kB there).
    #[must_use]
    pub fn failed_frames(&self) -> u64 {
        self.hugetlb.failed.all()
    }
}

impl Hugetlb {
    /// A frame of a folio that nobody uses has failed. `None`: it is in no list, as somebody has it in hand. The right
    /// to resize is held.
    fn fail_unused(&self, mm: &Mm, head: PageRef, pfn: Pfn) -> Option<Outcome> {
        let size = HugeSize::from_order(head.order())?;
        let room = self.failed.prepare();
        let seen = {
            let mut pool = self.lock(size);
            let is_it = |page: &PageRef| *page == head;
            if let Some(folio) = pool.free.take_first(is_it) {
                pool.failed.push(folio);
            }
            if !pool.failed.iter().chain(pool.leaving.iter()).any(|page| page == head) {
                return None;
            }
            let seen = self.failed.add(head, pfn.offset_from(head.pfn()), room);
            pool.settle();
            seen
        };
        self.tidy(mm, size);
        Some(if seen == Seen::First { mm.outcome(pfn) } else { Outcome::Known })
    }

    /// Makes others for promised folios that have failed, and gives what is leaving back. With the right to resize.
    fn tidy(&self, mm: &Mm, size: HugeSize) {
        self.exchange_failed(mm, size);
        // What cannot be restored now stays on the list.
        let _ = self.release_leaving(mm, size);
    }

    /// Makes others for promised folios that have failed. Whether all have been replaced. May sleep; no spinlock is
    /// held, nor a sleeping lock of rank 13 or above.
    pub(super) fn replace_failed(&self, mm: &Mm, size: HugeSize) -> bool {
        if self.lock(size).failed.is_empty() {
            return false;
        }
        let _one = self.resizing.write(mm.env);
        self.tidy(mm, size);
        self.lock(size).failed.is_empty()
    }

    fn exchange_failed(&self, mm: &Mm, size: HugeSize) {
        while !self.lock(size).failed.is_empty() {
            let Some(new) = self.new_folio(mm, size, count_surplus) else { return };
            // One that cannot be optimised is as good.
            let _ = optimize(mm, size, [new.page()]);
            let mut pool = self.lock(size);
            pool.free.push(new);
            count_surplus(&mut pool);
            pool.settle();
        }
    }

    /// Gives a folio that is in no list, without references and not optimised, to the buddy allocator, but for what has
    /// failed of it.
    pub(super) fn give_up(&self, mm: &Mm, folio: FolioRef) {
        let head = folio.page();
        if !any_in(head) {
            let order = folio.order();
            return mm.free_pages(folio, order);
        }
        if is_unreliable(head) {
            return mm.retire_folio(folio);
        }
        mm.free_around(folio, || self.failed.take_last(head));
    }
}
