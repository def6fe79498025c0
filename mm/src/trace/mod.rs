//! Room 17: static tracepoints, and what they write down.
//!
//! **Guarantee.** A point that is off is one load and one test: two instructions, and what registers they take from the
//! code around them. One that is on writes a record of fixed size to the ring of its CPU: without a lock, without an
//! allocation, and without touching a struct page, so it may stand anywhere, in the middle of a remap too. A point that
//! counts is the only place where its counter goes up, so the sum of its records' `n` is the difference of its counter,
//! unless records were lost or filtered.
//!
//! **Protocol.** The first word of [`Trace`] has a bit for each point. It changes while all other CPUs are stopped, so
//! nobody is in the middle of a record when it does; a record is written with interrupts masked, and looks at the bit
//! once more there. So who has switched points off may read the rings, or free them.
//!
//! ```text
//!   stats.note(point, n, args)      counter += n
//!     bit set? --no--> on           ldr, tbz
//!          yes (cold)
//!     mask; bit still set? filter? time, order, thread --> ring of this CPU, over its oldest record; unmask
//! ```
//! A slice is announced where it begins and where it ends, by the thread that it belongs to, which may have gone to
//! another CPU meanwhile. Changes of threads are a point too (`switch`, in the kernel), so that a reader knows where a
//! slice went on.
//!
//! | file | what |
//! |---|---|
//! | [`points`] | the list of points |
//! | [`record`] | one record, and its words |
//! | [`filter`] | which records are written, of the points that are on |
//! | `ring` | the records of one CPU |
//! | [`control`] | on, off, filter, forget, read |
#![forbid(unsafe_code)]

use core::fmt;
use core::sync::atomic::{AtomicU64, Ordering};

use allocator_api2::boxed::Box;
use allocator_api2::vec::Vec;
use arch::Machine;
use arch::contract::{Cpu, CpuId, MAX_CPUS};
use arch::sync::SpinLock;

use crate::env::KernelEnv;
use crate::error::OutOfMemory;
use crate::kalloc::{KAlloc, try_array};
use crate::locks::{self, SleepLock};

pub mod control;
pub mod filter;
pub mod points;
pub mod record;
mod ring;
#[cfg(test)]
mod tests;

pub use control::{Still, TraceError};
pub use filter::Filter;
pub use points::{Point, Points, Shape};
pub use record::{Args, Phase, Record, Running};

use control::Book;
use filter::Sieve;
use ring::Ring;

/// Which points are on, and the records.
#[repr(C)]
pub struct Trace {
    /// A bit for each point.
    on: AtomicU64,
    /// Records that any CPU has written.
    order: AtomicU64,
    /// One a CPU. On the heap, because what stands behind this in [`crate::Mm`] costs more the farther away it is.
    rings: Vec<Ring, KAlloc>,
    sieve: Sieve,
    env: &'static dyn KernelEnv,
    /// One thread at a time switches points, or reads.
    turn: SleepLock,
    /// Bytes of each ring when there is one.
    bytes: AtomicU64,
    book: SpinLock<Option<Box<Book, KAlloc>>>,
}

const _: () = assert!(core::mem::offset_of!(Trace, on) == 0);

impl Trace {
    pub(crate) fn new(env: &'static dyn KernelEnv) -> Result<Self, OutOfMemory> {
        Ok(Trace {
            on: AtomicU64::new(0),
            order: AtomicU64::new(0),
            rings: try_array(MAX_CPUS, Ring::new)?,
            sieve: Sieve::new(),
            env,
            turn: SleepLock::new(locks::TRACE_TURN),
            bytes: AtomicU64::new(control::DEFAULT_BYTES),
            book: SpinLock::new(locks::TRACE_BOOK, None),
        })
    }

    /// Whether the point is on.
    #[must_use]
    #[inline(always)]
    pub fn is_on(&self, point: Point) -> bool {
        self.on.load(Ordering::Relaxed) & 1 << point as u32 != 0
    }

    /// Writes a record, if the point is on and the filter lets it through. In registers, so a point needs no stack.
    #[cold]
    #[inline(never)]
    pub(crate) fn record(&self, (point, phase): (Point, Phase), n: u64, a: u64, b: u64, c: u64, d: u64) {
        let args = [a, b, c, d];
        let irq = Machine::mask_irqs();
        let cpu = Machine::id();
        let ring = &self.rings[cpu.index()];
        let running = running(ring);
        if self.is_on(point) && self.sieve.lets(point, cpu, running, &args) {
            let order = self.order.fetch_add(1, Ordering::Relaxed);
            let n = u32::try_from(n).unwrap_or(u32::MAX);
            ring.write(Record { time: self.env.now_ns(), order, point, phase, running, cpu, n, args });
        }
        Machine::restore_irqs(irq);
    }

    /// This CPU leaves its thread for another, whose name is this. Called by whoever switches threads, interrupts
    /// masked.
    #[inline]
    pub fn switched(&self, to: Running, name: &str) {
        if self.is_on(Point::Switch) {
            let [first, second] = record::words_of(name);
            self.record((Point::Switch, Phase::Instant), 1, to.thread, to.pid.into(), first, second);
        }
        let ring = &self.rings[Machine::id().index()];
        ring.thread.store(to.thread, Ordering::Relaxed);
        ring.pid.store(to.pid.into(), Ordering::Relaxed);
    }

    /// The thread that a CPU runs.
    #[must_use]
    pub fn running(&self, cpu: CpuId) -> Running {
        running(&self.rings[cpu.index()])
    }
}

fn running(ring: &Ring) -> Running {
    Running { thread: ring.thread.load(Ordering::Relaxed), pid: ring.pid.load(Ordering::Relaxed) as u32 }
}

impl fmt::Debug for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Trace({})", self.points())
    }
}
