//! khugepaged: the thread that looks for ranges of small pages, and makes huge pages of them by copy
//! ([`super::collapse`]).
//!
//! ```text
//!   live spaces   [ 9 ] -> [ 7 ] -> [ 4 ] -> end: one full scan more          `pages_to_scan` pages, then
//!                            ^ cursor: space 7, address                       `scan_sleep_millisecs` of sleep
//!
//!   of a range    M to read: look    no lock: allocate    M to write: look again, copy, exchange
//! ```
//! | `thp=` | whose memory |
//! |---|---|
//! | `always`, `defer` | all but that of MADV_NOHUGEPAGE |
//! | `madvise` | that of MADV_HUGEPAGE |
//! | `never` | nobody's |
//! | `reserve` | as `always`, where there is no reservation and as many pages are populated as `promotion_threshold` asks for |
//!
//! **Beside reservations** it repairs: ranges that had pages before a reservation was possible, such as those of a heap
//! that grows by less than 2 MiB at a time, whose range fits its VMA only after most of it was written; those for which
//! there was no block; those whose reservation was given up under pressure or by a cut. It makes a huge page where
//! promotion would have made one, of as many populated pages, and leaves ranges that have a reservation to promotion.
//! `max_ptes_none` of 0 lets it collapse full ranges only, a long `scan_sleep_millisecs` nothing, so that what
//! reservations alone give can be told.
//!
//! | a range is left where | source |
//! |---|---|
//! | more than `max_ptes_none` pages are nothing or zeros: at most 511, so that zeros alone never become huge; with `reserve` also at most 512 less the threshold | `hpage_collapse_scan_pmd` |
//! | more than `max_ptes_shared` pages may be another process's too | `folio_maybe_mapped_shared` |
//! | no page was accessed since the access flag was cleared | `SCAN_LACK_REFERENCED_PAGE` |
//! | a page is pinned, moving, or held by a reference that is no entry's, as by a reservation | `is_refcount_suitable` |
//! | it is not anonymous memory, has a block, or has no table | `SCAN_PAGE_ANON`, `SCAN_PMD_MAPPED`, `SCAN_PMD_NULL` |
//!
//! **Work.** A range that is looked at counts 512 pages, a VMA or a space that is passed over counts 1 (Linux:
//! `khugepaged_scan_mm_slot`). A call ends when its pages are used up, when it has come to the first space twice, or
//! when there is no memory for a folio, after which it sleeps for `alloc_sleep_millisecs` (Linux: `khugepaged_alloc_sleep`,
//! which it does once before it gives up). `defrag` says whether memory is compacted for the folio. M is held for one range at a time; a space whose M is held for writing is left
//! for the next scan.
//!
//! **The cursor survives the end of its space.** It holds a share of the space and stands in no other list; a space that
//! ends moves it on to the next one in the same breath as it leaves the list of spaces ([`leave`]). A scan under way
//! has a share of its own, and finds no VMAs any more.
#![forbid(unsafe_code)]

use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use arch::sync::SpinLock;
use arch::{Order, VirtAddr};

use super::collapse::{CollapseError, Effort, Limits, Range, Room};
use super::held::Held;
use super::policy::may_become_huge;
use crate::Mm;
use crate::config::{Number, ThpMode};
use crate::kalloc::KArc;
use crate::locks;
use crate::space::{AddressSpace, Vma};
use crate::stats::Counter;
use crate::trace::Point;

/// The name of the kernel thread.
pub const THREAD: &str = "khugepaged";
const NS_PER_MS: u64 = 1_000_000;

/// Where it stands, what wakes it, and what it has done.
pub(super) struct Khugepaged {
    cursor: SpinLock<Cursor>,
    /// Settings that were changed.
    changes: AtomicUsize,
    /// Changes of settings, and spaces that were born: what gives it work.
    events: AtomicUsize,
    full_scans: AtomicU64,
    collapsed: AtomicU64,
}

/// The next range to look at.
struct Cursor {
    /// None: the first space of the list.
    space: Option<KArc<AddressSpace>>,
    va: VirtAddr,
}

impl Cursor {
    const START: VirtAddr = VirtAddr::new(0);

    fn move_to(&mut self, space: Option<KArc<AddressSpace>>) -> Option<KArc<AddressSpace>> {
        self.va = Self::START;
        core::mem::replace(&mut self.space, space)
    }
}

impl Khugepaged {
    pub(super) const fn new() -> Self {
        let cursor = Cursor { space: None, va: Cursor::START };
        Khugepaged {
            cursor: SpinLock::new(locks::KHUGEPAGED, cursor),
            changes: AtomicUsize::new(0),
            events: AtomicUsize::new(0),
            full_scans: AtomicU64::new(0),
            collapsed: AtomicU64::new(0),
        }
    }

    fn key(&self) -> usize {
        core::ptr::from_ref(self).addr()
    }
}

/// How often it has come to the end of the list of spaces.
#[must_use]
pub fn full_scans(mm: &Mm) -> u64 {
    mm.thp.khugepaged.full_scans.load(Ordering::Relaxed)
}

/// Huge pages that it has made; promotions in place are counted with them, as in the series that proposed these.
#[must_use]
pub fn pages_collapsed(mm: &Mm) -> u64 {
    mm.thp.khugepaged.collapsed.load(Ordering::Relaxed) + mm.stats.get(Counter::ResPagesCollapsed)
}

/// Runs `remove`, which takes the space out of the list of live ones, and moves the cursor off it first. The caller
/// holds a share of the space and no spinlock.
pub fn leave(mm: &Mm, space: &AddressSpace, remove: impl FnOnce()) {
    let mut cursor = mm.thp.khugepaged.cursor.lock();
    let here = cursor.space.as_ref().is_some_and(|at| at.id == space.id);
    let share = if here {
        let next = mm.spaces.after(space);
        if next.is_none() {
            mm.thp.khugepaged.full_scans.fetch_add(1, Ordering::Relaxed);
        }
        cursor.move_to(next)
    } else {
        None
    };
    remove();
    drop(cursor);
    drop(share);
}

/// What came of the visit of one space.
enum Visit {
    /// Its end was reached, or it is busy.
    Done,
    /// Here it goes on.
    Stopped(VirtAddr),
}

/// Why a scan ends.
#[derive(PartialEq, Eq)]
enum End {
    No,
    NoMemory,
}

/// One call of [`scan`].
struct Scan<'m> {
    mm: &'m Mm,
    pages: u64,
    collapsed: u64,
    end: End,
}

/// Looks at `pages` pages from where the last call has stopped, and collapses what it may. Returns how many ranges
/// became huge. May sleep; the caller holds no lock. Several calls at a time share the cursor.
pub fn scan(mm: &Mm, pages: u64) -> u64 {
    scan_some(mm, pages).0
}

/// As [`scan`]; also how long to sleep then.
pub(super) fn scan_some(mm: &Mm, pages: u64) -> (u64, Number) {
    let mut scan = Scan { mm, pages, collapsed: 0, end: End::No };
    let mut at_first = 0;
    while scan.goes_on() {
        let Some((space, va)) = scan.next(&mut at_first) else { break };
        let visit = scan.visit(&space, va);
        scan.move_on(&space, visit);
    }
    mm.thp.khugepaged.collapsed.fetch_add(scan.collapsed, Ordering::Relaxed);
    let sleep = match scan.end {
        End::No => Number::ScanSleepMillisecs,
        End::NoMemory => Number::AllocSleepMillisecs,
    };
    (scan.collapsed, sleep)
}

/// What one look at a space has found.
enum Look {
    /// Nothing up to this address.
    Nothing(VirtAddr),
    /// A range that may be collapsed.
    Range(VirtAddr),
    /// No more VMAs, or M is held for writing.
    End,
}

impl Scan<'_> {
    fn goes_on(&self) -> bool {
        self.pages > 0 && self.end == End::No && runs(self.mm.thp.mode())
    }

    fn spend(&mut self, pages: u64) {
        self.pages = self.pages.saturating_sub(pages);
    }

    /// Where the cursor stands; none where there is no space, or it has come to the first one for the second time.
    fn next(&self, at_first: &mut u32) -> Option<(KArc<AddressSpace>, VirtAddr)> {
        let mut cursor = self.mm.thp.khugepaged.cursor.lock();
        if cursor.space.is_none() {
            *at_first += 1;
            if *at_first > 1 {
                return None;
            }
            cursor.move_to(self.mm.spaces.first());
        }
        let space = cursor.space.clone()?;
        debug_assert!(space.has_tables(), "khugepaged stands in address space {}, which has ended", space.id);
        Some((space, cursor.va))
    }

    /// Moves the cursor after a visit, unless somebody else has.
    fn move_on(&mut self, space: &KArc<AddressSpace>, visit: Visit) {
        let khugepaged = &self.mm.thp.khugepaged;
        let mut cursor = khugepaged.cursor.lock();
        if !cursor.space.as_ref().is_some_and(|at| KArc::ptr_eq(at, space)) {
            return;
        }
        match visit {
            Visit::Stopped(va) => cursor.va = va,
            Visit::Done => {
                let next = self.mm.spaces.after(space);
                if next.is_none() {
                    khugepaged.full_scans.fetch_add(1, Ordering::Relaxed);
                }
                // The caller has another share.
                drop(cursor.move_to(next));
                self.spend(1);
            }
        }
    }

    /// Looks at a space from an address on.
    fn visit(&mut self, space: &AddressSpace, mut va: VirtAddr) -> Visit {
        while self.goes_on() {
            match self.look(space, va) {
                Look::End => return Visit::Done,
                Look::Nothing(next) => va = next,
                Look::Range(start) => {
                    self.collapse(space, start);
                    va = start.add(Order::PMD.bytes());
                }
            }
        }
        Visit::Stopped(va)
    }

    /// Looks at the next VMA or range.
    fn look(&mut self, space: &AddressSpace, va: VirtAddr) -> Look {
        let mm = self.mm;
        let Some(_mmap) = space.mmap_lock.try_read(mm.env) else { return Look::End };
        let Some(vma) = space.find_vma(va) else { return Look::End };
        let start = vma.start.max(va).align_up(Order::PMD.bytes());
        if !may_become_huge(mm, space, &vma) || !vma.fits_block(start) {
            self.spend(1);
            return Look::Nothing(vma.end);
        }
        self.spend(Order::PMD.pages());
        match range(mm, space, &vma, start).survey() {
            Ok(()) => Look::Range(start),
            Err(error) => {
                count(mm, error);
                Look::Nothing(start.add(Order::PMD.bytes()))
            }
        }
    }

    /// Collapses the range, if it still may be.
    fn collapse(&mut self, space: &AddressSpace, start: VirtAddr) {
        let mm = self.mm;
        let effort = if mm.thp.number(Number::Defrag) == 0 { Effort::TakeFree } else { Effort::Compact };
        let Ok(room) = Room::new(mm, effort) else {
            self.end = End::NoMemory;
            return;
        };
        let _mmap = space.mmap_lock.write(mm.env);
        let _held = Held::mmap_write(mm);
        let wanted = |vma: &Vma| may_become_huge(mm, space, vma) && vma.fits_block(start);
        let Some(vma) = space.vma_at(start).filter(wanted) else { return room.give_back(mm) };
        let range = range(mm, space, &vma, start);
        // A fault or another collapse may have been faster.
        if let Err(error) = range.survey() {
            count(mm, error);
            return room.give_back(mm);
        }
        match range.collapse(room) {
            Ok(()) => self.collapsed += 1,
            Err(error) => {
                mm.stats.note(Point::CollapseFail, 1, || [start.raw(), 0, 0, 0]);
                count(mm, error);
            }
        }
    }
}

/// Whether it does anything in this mode.
fn runs(mode: ThpMode) -> bool {
    mode != ThpMode::Never
}

/// A range and the limits of this moment.
fn range<'r>(mm: &'r Mm, space: &'r AddressSpace, vma: &'r Vma, start: VirtAddr) -> Range<'r> {
    let none = mm.thp.number(Number::MaxPtesNone).min(most_unpopulated(mm));
    let limits = Limits::Of { none, shared: mm.thp.number(Number::MaxPtesShared) };
    Range { mm, space, vma, start, limits }
}

/// How many pages of a range may be unpopulated by the threshold, where huge pages are made by that.
fn most_unpopulated(mm: &Mm) -> u64 {
    match mm.thp.mode() {
        ThpMode::Reserve => Order::PMD.pages() - u64::from(mm.thp.threshold()),
        ThpMode::Never | ThpMode::Always | ThpMode::Madvise | ThpMode::Defer => Order::PMD.pages(),
    }
}

fn count(mm: &Mm, error: CollapseError) {
    match error {
        CollapseError::TooManyNone => mm.stats.inc(Counter::ThpScanExceedNone),
        CollapseError::TooManyShared => mm.stats.inc(Counter::ThpScanExceedShared),
        _ => {}
    }
}

/// A setting was changed: ends its sleep, as Linux's files do. The caller holds no spinlock above rank 80.
pub fn wake(mm: &Mm) {
    mm.thp.khugepaged.changes.fetch_add(1, Ordering::Release);
    space_born(mm);
}

/// There may be work for it now. Does not end its sleep between two scans.
pub fn space_born(mm: &Mm) {
    mm.thp.khugepaged.events.fetch_add(1, Ordering::Release);
    mm.env.unpark_all(mm.thp.khugepaged.key());
}

/// The body of the thread [`THREAD`]. Never returns.
pub fn run(mm: &Mm) {
    loop {
        wait_for_work(mm);
        let seen = changes(mm);
        let (_, sleep) = scan_some(mm, mm.thp.number(Number::PagesToScan));
        pause(mm, seen, sleep);
    }
}

/// How many settings were changed so far.
pub(super) fn changes(mm: &Mm) -> usize {
    mm.thp.khugepaged.changes.load(Ordering::Acquire)
}

/// Sleeps while the mode gives it nothing to do, or there is no space.
fn wait_for_work(mm: &Mm) {
    let events = &mm.thp.khugepaged.events;
    loop {
        let seen = events.load(Ordering::Acquire);
        if runs(mm.thp.mode()) && mm.spaces.first().is_some() {
            return;
        }
        mm.env.park(mm.thp.khugepaged.key(), &|| events.load(Ordering::Acquire) == seen);
    }
}

/// Sleeps for as many milliseconds as the setting says, or until more than these settings were changed.
pub(super) fn pause(mm: &Mm, seen: usize, sleep: Number) {
    let unchanged = || changes(mm) == seen;
    let until = mm.env.now_ns().saturating_add(mm.thp.number(sleep) * NS_PER_MS);
    while unchanged() && mm.env.now_ns() < until {
        mm.env.park_until(mm.thp.khugepaged.key(), until, &unchanged);
    }
}
