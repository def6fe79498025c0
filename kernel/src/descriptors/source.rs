//! The other end of a post-copy migration, played by a thread of the kernel: it brings the content of a range of shared
//! hugetlb memory whose VMAs are registered with a context, 4 KiB at a time.
//!
//! ```text
//!   next piece = of the page that a fault waits for, the oldest fault first
//!                else the first one that has not come
//!        |
//!        v
//!   write it into the object's page --> is all of its unit there? --> continue the unit --> next piece
//! ```
//! A *unit* is what can be continued: 4 KiB where MADV_SPLIT has permitted that for the VMA, else a hugetlb page. So a
//! fault there waits for 4 KiB, and here for all of the page.
//!
//! **Content.** The 64-bit word at the byte `o` of the range is `((o + (seed << 48)) * 0x9e3779b97f4a7c15) | 1`, as if it
//! were that of an address `o` in `tests/programs/start.h` (`pattern`); whoever maps the range can say what has arrived.
//!
//! **Turns.** After each piece the thread lets others run, as a network would: who has waited goes on before the next
//! piece comes.
//!
//! **The end.** When all has arrived the range is unregistered, and is memory like any other. The end of the context or
//! of the space, and content for which there is no place any more, end it before that; the range is unregistered all the
//! same, and what has not come is zeros, or nothing.
#![forbid(unsafe_code)]

use core::ops::Range;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use allocator_api2::vec::Vec;
use arch::VirtAddr;
use arch::addr::PAGE_SIZE;
use arch::sync::{Rank, SpinLock};
use mm::Mm;
use mm::hugetlb::hgm::ContinueError;
use mm::kalloc::{KAlloc, KArc};
use mm::shmem::{DeliverError, Object};
use mm::space::VmaKind;
use mm::userfault::{Userfault, Wake, grain};

use crate::sched;
use crate::syscall::Errno;
use crate::the_mm;

/// Words of a piece.
const WORDS: usize = (PAGE_SIZE / 8) as usize;
/// Pieces of which a word of the map tells.
const BITS: u64 = u64::BITS as u64;

/// Sources that no thread has begun with yet.
static STARTED: SpinLock<Vec<Job, KAlloc>> = SpinLock::new(Rank(6), Vec::new_in(KAlloc));

/// How far a source is, for whoever has started it.
pub struct Progress {
    /// Bytes that have come.
    arrived: AtomicU64,
    stop: AtomicBool,
    ended: AtomicBool,
}

/// What a source brings, and to whom.
struct Job {
    progress: KArc<Progress>,
    context: KArc<Userfault>,
    object: KArc<Object>,
    /// The range.
    start: VirtAddr,
    pieces: u64,
    /// Where it begins in the object, in bytes.
    offset: u64,
    /// Pieces of a unit.
    unit: u64,
    seed: u64,
    /// A bit for each piece that has come.
    here: Vec<u64, KAlloc>,
}

/// Why no source was started.
impl From<DeliverError> for Errno {
    fn from(error: DeliverError) -> Self {
        match error {
            DeliverError::NotHuge => Errno::INVAL,
            DeliverError::NoPage => Errno::FAULT,
            DeliverError::PoolEmpty | DeliverError::OutOfMemory => Errno::NOMEM,
        }
    }
}

impl Progress {
    /// Starts a source for a range in one VMA that is registered with the context. Its pages are in the object when
    /// this returns.
    ///
    /// # Errors
    /// EINVAL: not such a range. EFAULT: the object ends before. ENOMEM: no pages, no memory for the thread.
    pub fn start(
        context: &KArc<Userfault>,
        start: u64,
        bytes: u64,
        seed: u64,
    ) -> Result<KArc<Progress>, Errno> {
        let mm = the_mm();
        let range = Userfault::range(start, bytes)?;
        let space = context.space();
        let found = {
            let _mmap = space.mmap_lock.read(mm.env);
            let vma = space.vma_at(range.start).filter(|vma| range.end <= vma.end && context.serves(vma));
            vma.and_then(|vma| Some((vma, space.objects.find(vma.kind.object()?)?)))
        };
        let (vma, object) = found.ok_or(Errno::INVAL)?;
        let VmaKind::HugeShared(size, _) = vma.kind else { return Err(Errno::INVAL) };
        let offset = vma.index_of(range.start) * PAGE_SIZE;
        let (unit, page) = (grain(&vma), size.bytes());
        if !range.start.is_aligned(unit) || !range.end.is_aligned(unit) {
            return Err(Errno::INVAL);
        }
        mm.bring_huge_pages(&object, offset / page..(offset + bytes).div_ceil(page))?;
        let (stop, ended) = (AtomicBool::new(false), AtomicBool::new(false));
        let progress = Progress { arrived: AtomicU64::new(0), stop, ended };
        let progress = KArc::try_new(progress).map_err(|_| Errno::NOMEM)?;
        let pieces = bytes / PAGE_SIZE;
        let mut here = Vec::new_in(KAlloc);
        let words = pieces.div_ceil(BITS) as usize;
        here.try_reserve_exact(words).map_err(|_| Errno::NOMEM)?;
        here.resize(words, 0);
        let (context, told) = (context.clone(), progress.clone());
        let unit = unit / PAGE_SIZE;
        let job = Job { progress, context, object, start: range.start, pieces, offset, unit, seed, here };
        {
            let mut started = STARTED.lock();
            started.try_reserve(1).map_err(|_| Errno::NOMEM)?;
            started.push(job);
        }
        if sched::spawn("source", run).is_err() {
            // Whichever was not begun is as good as another: each has its own thread to come.
            let mut started = STARTED.lock();
            let at = started.iter().position(|job| KArc::ptr_eq(&job.progress, &told));
            let job = at.map(|at| started.swap_remove(at));
            drop(started);
            drop(job);
            return Err(Errno::NOMEM);
        }
        Ok(told)
    }

    /// Bytes that have come.
    pub fn arrived(&self) -> u64 {
        self.arrived.load(Ordering::Acquire)
    }

    /// Whether it has come to its end, all of it or not.
    pub fn is_ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }

    /// Ends it, and waits until it has ended.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Release);
        while !self.is_ended() {
            sched::park(self.key(), &|| !self.is_ended());
        }
    }

    fn end(&self) {
        self.ended.store(true, Ordering::Release);
        sched::unpark_all(self.key());
    }

    fn key(&self) -> usize {
        core::ptr::from_ref(self).addr()
    }
}

/// A thread takes any source that was started: there are as many as threads.
fn run(mm: &'static Mm) {
    let job = STARTED.lock().pop();
    if let Some(mut job) = job {
        job.bring_all(mm);
        // Nobody is told of faults that nobody would serve. Where there is no memory to cut a VMA they are told.
        let _ = mm.unregister_userfault(&job.context, job.range());
        let progress = job.progress.clone();
        // Whoever waits for the end finds that nothing of the job is left.
        drop(job);
        progress.end();
    }
}

impl Job {
    /// Brings pieces until all have come, or something ends it.
    fn bring_all(&mut self, mm: &Mm) {
        let (mut next, mut wanted) = (0, None);
        while next < self.pieces {
            if self.progress.stop.load(Ordering::Acquire) || self.context.is_ended() {
                return;
            }
            if wanted.is_none() {
                let fault = self.context.next_fault(self.range());
                wanted = fault.map(|fault| fault.page.offset_from(self.start) / PAGE_SIZE / self.unit);
            }
            let unit = wanted.unwrap_or(next / self.unit);
            let piece = self.first_missing(unit);
            if let Some(piece) = piece
                && self.bring(mm, piece).is_err()
            {
                return;
            }
            if self.first_missing(unit).is_none() {
                if self.let_see(mm, unit).is_err() {
                    return;
                }
                wanted = None;
            }
            while next < self.pieces && self.is_here(next) {
                next += 1;
            }
            sched::yield_now();
        }
    }

    fn range(&self) -> Range<VirtAddr> {
        self.start..self.start.add(self.pieces * PAGE_SIZE)
    }

    /// Maps a unit of which all pieces are there, and wakes who waits for it.
    fn let_see(&self, mm: &Mm, unit: u64) -> Result<(), ContinueError> {
        let start = self.start.add(unit * self.unit * PAGE_SIZE);
        let range = start..start.add(self.unit * PAGE_SIZE);
        match mm.continue_userfault(&self.context, range.clone(), Wake::Now).1 {
            Err(ContinueError::Mapped(_)) => {
                mm.wake_userfault(&self.context, range);
                Ok(())
            }
            other => other,
        }
    }

    /// Writes a piece.
    fn bring(&mut self, mm: &Mm, piece: u64) -> Result<(), DeliverError> {
        let mut bytes = [0; WORDS * 8];
        for (n, word) in bytes.chunks_exact_mut(8).enumerate() {
            let at = piece * PAGE_SIZE + n as u64 * 8;
            word.copy_from_slice(&pattern(at, self.seed).to_le_bytes());
        }
        mm.deliver(&self.object, self.offset + piece * PAGE_SIZE, &bytes)?;
        self.here[(piece / BITS) as usize] |= 1 << (piece % BITS);
        self.progress.arrived.fetch_add(PAGE_SIZE, Ordering::AcqRel);
        Ok(())
    }

    fn is_here(&self, piece: u64) -> bool {
        self.here[(piece / BITS) as usize] >> (piece % BITS) & 1 != 0
    }

    /// The first piece of the unit that has not come.
    fn first_missing(&self, unit: u64) -> Option<u64> {
        let mut piece = unit * self.unit;
        let end = piece + self.unit;
        while piece < end {
            let gone = !self.here[(piece / BITS) as usize] >> (piece % BITS);
            if gone != 0 {
                piece += u64::from(gone.trailing_zeros());
                return (piece < end).then_some(piece);
            }
            piece = (piece / BITS + 1) * BITS;
        }
        None
    }
}

/// The word at the byte `at` of the range.
fn pattern(at: u64, seed: u64) -> u64 {
    at.wrapping_add(seed << 48).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1
}
