//! The other end of a post-copy migration, played by a thread of the kernel: it brings the content of a range of shared
//! hugetlb memory whose VMAs are registered with a context, 4 KiB at a time.
//!
//! ```text
//!   next piece = of the unit that a fault waits for, the oldest fault first
//!                else the first one that has not come
//!        |
//!        v
//!   write it into the object's page --> is all of its unit there? --> continue the unit --> next piece
//! ```
//! A *unit* is what can be continued: 4 KiB where MADV_SPLIT has permitted that for the VMA, else a hugetlb page. So a
//! fault there waits for 4 KiB, and here for all of the page.
//!
//! **Content.** The 64-bit word at the byte `o` of the range is `((o + (seed << 48)) * 0x9e3779b97f4a7c15) | 1`, as if it
//! were that of an address `o` in `tests/programs/start.h` (`pattern`); whoever maps the range can say what has
//! arrived.
//!
//! **Turns.** After each piece the thread lets others run, as a network would: who has waited goes on before the next
//! piece comes.
//!
//! **The end.** When all has arrived the range is unregistered, and is memory like any other. The end of the context or
//! of the space, and content for which there is no place any more, end it before that; the range is unregistered all
//! the same, and what has not come is zeros, or nothing.
#![forbid(unsafe_code)]

use core::ops::Range;
use core::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use allocator_api2::boxed::Box;
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

/// What an address is multiplied by.
const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;
/// Units of which a word of the map tells.
const BITS: u64 = u64::BITS as u64;

/// Sources that no thread has begun with yet. A thread for each is there before it is.
static STARTED: SpinLock<Option<Box<Job, KAlloc>>> = SpinLock::new(Rank(6), None);
/// How many there are; read without the lock.
static WAITING: AtomicUsize = AtomicUsize::new(0);

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
    units: u64,
    /// Pieces of a unit.
    unit: u64,
    /// Where it begins in the object, in bytes.
    offset: u64,
    seed: u64,
    /// A bit for each unit of which all has come.
    complete: Vec<u64, KAlloc>,
    /// A piece.
    buffer: Vec<u8, KAlloc>,
    /// The next one of those that were started.
    next: Option<Box<Job, KAlloc>>,
}

/// A source ends before all has come.
struct Over;

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
        let units = bytes / unit;
        let complete = filled(units.div_ceil(BITS) as usize, 0)?;
        let buffer = filled(PAGE_SIZE as usize, 0)?;
        let (told, unit, start) = (progress.clone(), unit / PAGE_SIZE, range.start);
        let context = context.clone();
        let job =
            Job { progress, context, object, start, units, unit, offset, seed, complete, buffer, next: None };
        let job = Box::try_new_in(job, KAlloc).map_err(|_| Errno::NOMEM)?;
        sched::spawn("source", run).map_err(|_| Errno::NOMEM)?;
        hand_over(job);
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

/// So many times `value`.
fn filled<T: Copy>(many: usize, value: T) -> Result<Vec<T, KAlloc>, Errno> {
    let mut all = Vec::new_in(KAlloc);
    all.try_reserve_exact(many).map_err(|_| Errno::NOMEM)?;
    all.resize(many, value);
    Ok(all)
}

/// A thread that has no source yet gets this one.
fn hand_over(mut job: Box<Job, KAlloc>) {
    let mut started = STARTED.lock();
    job.next = started.take();
    *started = Some(job);
    WAITING.fetch_add(1, Ordering::SeqCst);
    drop(started);
    sched::unpark_all(waiting_key());
}

/// A source, waited for: there are as many as threads.
fn take() -> Box<Job, KAlloc> {
    loop {
        {
            let mut started = STARTED.lock();
            if let Some(mut job) = started.take() {
                *started = job.next.take();
                WAITING.fetch_sub(1, Ordering::SeqCst);
                return job;
            }
        }
        sched::park(waiting_key(), &|| WAITING.load(Ordering::SeqCst) == 0);
    }
}

fn waiting_key() -> usize {
    core::ptr::from_ref(&WAITING).addr()
}

/// A thread that plays one source.
fn run(mm: &'static Mm) {
    let mut job = take();
    let (Ok(()) | Err(Over)) = job.bring_all(mm);
    // Nobody is told of faults that nobody would serve. Where there is no memory to cut a VMA they are told.
    let _ = mm.unregister_userfault(&job.context, job.range());
    let progress = job.progress.clone();
    // Whoever waits for the end finds that nothing of the job is left.
    drop(job);
    progress.end();
}

impl Job {
    /// Brings units until all have come, or something ends it.
    fn bring_all(&mut self, mm: &Mm) -> Result<(), Over> {
        // The first unit that is not complete, and how many of its pieces have come.
        let (mut next, mut begun) = (0, 0);
        while next < self.units {
            if self.progress.stop.load(Ordering::Acquire) {
                return Err(Over);
            }
            match self.asked() {
                Some(unit) if self.is_complete(unit) => self.let_see(mm, unit)?,
                Some(unit) => self.bring_unit(mm, unit, if unit == next { begun } else { 0 })?,
                None => {
                    self.bring(mm, next * self.unit + begun)?;
                    begun += 1;
                    if begun == self.unit {
                        self.complete(mm, next)?;
                    }
                }
            }
            while next < self.units && self.is_complete(next) {
                (next, begun) = (next + 1, 0);
            }
        }
        Ok(())
    }

    fn range(&self) -> Range<VirtAddr> {
        self.start..self.start.add(self.units * self.unit * PAGE_SIZE)
    }

    /// The unit that the oldest fault waits for of which the source does not know yet.
    fn asked(&self) -> Option<u64> {
        let fault = self.context.next_fault(self.range())?;
        Some(fault.page.offset_from(self.start) / PAGE_SIZE / self.unit)
    }

    /// Brings the pieces of a unit from this one on, and lets the unit be seen.
    fn bring_unit(&mut self, mm: &Mm, unit: u64, from: u64) -> Result<(), Over> {
        for piece in from..self.unit {
            self.bring(mm, unit * self.unit + piece)?;
        }
        self.complete(mm, unit)
    }

    /// All pieces of a unit are there.
    fn complete(&mut self, mm: &Mm, unit: u64) -> Result<(), Over> {
        self.complete[(unit / BITS) as usize] |= 1 << (unit % BITS);
        self.let_see(mm, unit)
    }

    fn is_complete(&self, unit: u64) -> bool {
        self.complete[(unit / BITS) as usize] >> (unit % BITS) & 1 != 0
    }

    /// Maps a unit, and wakes who waits for it.
    fn let_see(&self, mm: &Mm, unit: u64) -> Result<(), Over> {
        let start = self.start.add(unit * self.unit * PAGE_SIZE);
        let range = start..start.add(self.unit * PAGE_SIZE);
        match mm.continue_userfault(&self.context, range.clone(), Wake::Now).1 {
            Ok(()) => {}
            Err(ContinueError::Mapped(_)) => mm.wake_userfault(&self.context, range),
            Err(_) => return Err(Over),
        }
        sched::yield_now();
        Ok(())
    }

    /// Writes a piece.
    fn bring(&mut self, mm: &Mm, piece: u64) -> Result<(), Over> {
        if self.progress.stop.load(Ordering::Acquire) || self.context.is_ended() {
            return Err(Over);
        }
        let mut product = (piece * PAGE_SIZE).wrapping_add(self.seed << 48).wrapping_mul(FACTOR);
        for word in self.buffer.chunks_exact_mut(8) {
            word.copy_from_slice(&(product | 1).to_le_bytes());
            product = product.wrapping_add(FACTOR.wrapping_mul(8));
        }
        mm.deliver(&self.object, self.offset + piece * PAGE_SIZE, &self.buffer).map_err(|_| Over)?;
        self.progress.arrived.fetch_add(PAGE_SIZE, Ordering::AcqRel);
        sched::yield_now();
        Ok(())
    }
}
