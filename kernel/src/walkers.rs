//! Walkers: kernel threads that look at the struct page of every frame of RAM, without any lock, again and again, as
//! compaction, memory failure and `/proc/kpageflags` do.
//!
//! They run while HVO replaces what maps the struct pages: whatever it does, a look must come to a right answer or to
//! none. Each walker goes through all banks of memory from a place of its own, and for each frame
//!
//! 1. reads flags, kind, order and head, and what `/proc/kpageflags` says, holding nothing;
//! 2. tries to get the folio. If it does, it holds a reference: the folio has the frame inside, its frames lead to it as
//!    long as the reference is held, and it is not the folio that the test has named as frozen.
//!
//! What does not hold is counted as wrong. The named folio is looked at more often than all others.
#![forbid(unsafe_code)]

use core::fmt;
use core::hint::black_box;
use core::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use arch::Pfn;
use arch::contract::MAX_CPUS;
use arrayvec::ArrayVec;
use mm::Mm;
use mm::page::{PageRef, page_of};

use crate::sched::{self, SpawnError, ThreadId};

/// Frames between two looks at the named folio, and at whether to end.
const STRETCH: u64 = 256;
/// Looks at the named folio then.
const NAMED_LOOKS: u64 = 64;
/// No folio is named.
const NOBODY: u64 = u64::MAX;

/// There are walkers.
static THERE: AtomicBool = AtomicBool::new(false);
static END: AtomicBool = AtomicBool::new(false);
/// Walkers that have begun.
static BEGUN: AtomicUsize = AtomicUsize::new(0);
static ASKED: AtomicU64 = AtomicU64::new(0);
static GOT: AtomicU64 = AtomicU64::new(0);
static WRONG: AtomicU64 = AtomicU64::new(0);
/// The first frame with a wrong answer.
static WRONG_AT: AtomicU64 = AtomicU64::new(NOBODY);
/// The head's pfn of the folio that nobody may get, and its pages.
static NAMED: AtomicU64 = AtomicU64::new(NOBODY);
static NAMED_PAGES: AtomicU64 = AtomicU64::new(0);

/// What walkers have come to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Looks {
    /// Frames whose folio they tried to get.
    pub asked: u64,
    /// References that they got.
    pub got: u64,
    /// Answers that were wrong.
    pub wrong: u64,
    /// The first frame with a wrong answer.
    pub wrong_at: Option<Pfn>,
}

impl fmt::Display for Looks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} try-gets, {} references, {} wrong", self.asked, self.got, self.wrong)?;
        self.wrong_at.map_or(Ok(()), |pfn| write!(f, ", the first at pfn {:#x}", pfn.raw()))
    }
}

/// Why there are no walkers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NoWalkers {
    /// There are some already.
    There,
    /// A thread cannot be started.
    Spawn(SpawnError),
}

impl fmt::Display for NoWalkers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NoWalkers::There => f.write_str("there are walkers already"),
            NoWalkers::Spawn(error) => write!(f, "a walker: {error}"),
        }
    }
}

/// The walkers, which end when this is dropped.
pub struct Walkers {
    threads: ArrayVec<ThreadId, MAX_CPUS>,
}

impl Walkers {
    /// Starts `count` walkers, at most [`MAX_CPUS`]. Their numbers begin at 0.
    ///
    /// # Errors
    /// [`NoWalkers`].
    pub fn start(count: usize) -> Result<Walkers, NoWalkers> {
        if THERE.swap(true, Ordering::AcqRel) {
            return Err(NoWalkers::There);
        }
        END.store(false, Ordering::Release);
        BEGUN.store(0, Ordering::Relaxed);
        [&ASKED, &GOT, &WRONG].iter().for_each(|number| number.store(0, Ordering::Relaxed));
        WRONG_AT.store(NOBODY, Ordering::Relaxed);
        let mut walkers = Walkers { threads: ArrayVec::new() };
        for _ in 0..count.min(MAX_CPUS) {
            walkers.threads.push(sched::spawn("walker", walk).map_err(NoWalkers::Spawn)?);
        }
        Ok(walkers)
    }

    /// What they have come to so far. Each says so after some hundred looks.
    pub fn looks(&self) -> Looks {
        let wrong_at = Some(WRONG_AT.load(Ordering::Relaxed)).filter(|&pfn| pfn != NOBODY).map(Pfn::new);
        Looks {
            asked: ASKED.load(Ordering::Relaxed),
            got: GOT.load(Ordering::Relaxed),
            wrong: WRONG.load(Ordering::Relaxed),
            wrong_at,
        }
    }

    /// Ends them, and says what they have come to.
    pub fn end(self) -> Looks {
        self.join();
        self.looks()
    }

    /// A folio whose count is 0, and stays so until it is named no more: nobody may get it.
    pub fn name_frozen(&self, head: PageRef) {
        NAMED_PAGES.store(head.order().pages(), Ordering::Relaxed);
        NAMED.store(head.pfn().raw(), Ordering::SeqCst);
    }

    /// No folio is named any more.
    pub fn name_nobody(&self) {
        NAMED.store(NOBODY, Ordering::SeqCst);
    }

    fn join(&self) {
        END.store(true, Ordering::Release);
        self.threads.iter().for_each(|&id| sched::join(id));
    }
}

impl Drop for Walkers {
    fn drop(&mut self) {
        self.join();
        self.name_nobody();
        THERE.store(false, Ordering::Release);
    }
}

/// Numbers of one walker that are not told yet.
#[derive(Default)]
struct Tally {
    asked: u64,
    got: u64,
}

impl Tally {
    fn tell(&mut self) {
        let Tally { asked, got } = core::mem::take(self);
        ASKED.fetch_add(asked, Ordering::Relaxed);
        GOT.fetch_add(got, Ordering::Relaxed);
    }
}

/// A walker's life. In each bank it begins the further on, the more walkers have begun before it.
fn walk(mm: &'static Mm) {
    let number = BEGUN.fetch_add(1, Ordering::Relaxed) as u64;
    let mut tally = Tally::default();
    loop {
        for bank in mm.ram() {
            let (start, end) = (bank.start.raw(), bank.end.raw());
            let stretches = (end - start).div_ceil(STRETCH);
            let begin = number * stretches / MAX_CPUS as u64;
            for stretch in (begin..stretches).chain(0..begin) {
                if END.load(Ordering::Relaxed) {
                    return tally.tell();
                }
                let first = start + stretch * STRETCH;
                (first..end.min(first + STRETCH)).for_each(|pfn| look(mm, Pfn::new(pfn), &mut tally));
                look_at_named(mm, &mut tally);
                tally.tell();
            }
        }
    }
}

fn look_at_named(mm: &Mm, tally: &mut Tally) {
    let first = NAMED.load(Ordering::Relaxed);
    if first != NOBODY {
        let pages = NAMED_PAGES.load(Ordering::Relaxed);
        let apart = (pages / NAMED_LOOKS).max(1) as usize;
        (first..first + pages).step_by(apart).for_each(|pfn| look(mm, Pfn::new(pfn), tally));
    }
}

/// One look at a frame.
fn look(mm: &Mm, pfn: Pfn, tally: &mut Tally) {
    if !mm.pfn_valid(pfn) {
        return;
    }
    let page = page_of(pfn);
    black_box((page.flags(), page.kind(), page.order(), page.head(mm.config.tails)));
    mm.read_kpageflags(pfn.raw(), black_box(&mut [0]));
    tally.asked += 1;
    let Some(folio) = mm.try_get_folio(pfn) else { return };
    tally.got += 1;
    let head = folio.page();
    let inside = head <= page && page.pfn().raw() - head.pfn().raw() < head.order().pages();
    let leads_there = page.head(mm.config.tails) == head;
    let frozen = head.pfn().raw() == NAMED.load(Ordering::SeqCst);
    if !inside || !leads_there || frozen {
        WRONG.fetch_add(1, Ordering::Relaxed);
        // The first is kept.
        let _ = WRONG_AT.compare_exchange(NOBODY, pfn.raw(), Ordering::Relaxed, Ordering::Relaxed);
    }
    mm.put_folio(folio);
}
