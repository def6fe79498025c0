//! Switching points, and reading what they wrote.
//!
//! Whatever changes here does so while all other CPUs are stopped ([`KernelEnv::stop_machine`]): none of them is in the
//! middle of a record, and all see the change when they go on. What is counted beside a point is read at the same moments,
//! so that both can be held against each other; only a thread that was taken off its CPU between a counter and its bit
//! may be counted here and not there.
//!
//! [`KernelEnv::stop_machine`]: crate::env::KernelEnv::stop_machine
#![forbid(unsafe_code)]

use core::fmt;
use core::sync::atomic::Ordering;

use allocator_api2::boxed::Box;
use allocator_api2::vec::Vec;
use arch::Order;
use arch::addr::PAGE_SIZE;
use arch::contract::CpuId;

use super::filter::Filter;
use super::points::{Point, Points};
use super::record::Record;
use super::{Running, Trace};
use crate::Mm;
use crate::buddy::MAX_ORDER;
use crate::error::OutOfMemory;
use crate::kalloc::{KAlloc, try_array};
use crate::page::{FolioRef, PageKind};

/// Bytes of a CPU's ring, where nobody has said otherwise: 8192 records.
pub const DEFAULT_BYTES: u64 = 512 << 10;
/// The smallest ring and the largest, in KiB.
pub const KIB: core::ops::RangeInclusive<u64> = 4..=256 << 10;

/// Why something cannot be done now. Nothing has changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TraceError {
    /// No memory for the rings.
    OutOfMemory,
    /// A ring has no such size, in KiB.
    Size(u64),
    /// There are records, or points are on.
    InUse,
}

impl fmt::Display for TraceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TraceError::OutOfMemory => {
                f.write_str("no memory for the records; `trace buffer` makes them fewer")
            }
            TraceError::Size(kib) => {
                write!(f, "`{kib}`: must be a number of KiB from {} to {}", KIB.start(), KIB.end())
            }
            TraceError::InUse => f.write_str("there are records; `trace off` and `trace clear` first"),
        }
    }
}

impl From<OutOfMemory> for TraceError {
    fn from(_: OutOfMemory) -> Self {
        TraceError::OutOfMemory
    }
}

/// What belongs to the records while there is memory for them.
pub(super) struct Book {
    /// The ring of each CPU, 2^order pages.
    blocks: Vec<FolioRef, KAlloc>,
    order: Order,
    /// What each point's counter said when the point went on.
    marks: Vec<u64, KAlloc>,
    /// By how much it has gone up while the point was on, until it went off last.
    counted: Vec<u64, KAlloc>,
    /// Some records may have been held back by a filter.
    filtered: bool,
}

impl Trace {
    /// The points that are on.
    #[must_use]
    pub fn points(&self) -> Points {
        Points::from_bits(self.on.load(Ordering::Relaxed))
    }
    /// The filter.
    #[must_use]
    pub fn filter(&self) -> Filter {
        self.sieve.get()
    }
    /// Bytes of a ring, now or when there is one.
    #[must_use]
    pub fn ring_bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }
    /// Whether there is memory for records.
    #[must_use]
    pub fn has_rings(&self) -> bool {
        self.book.lock().is_some()
    }

    /// Switches points on; the first time, rings are allocated. May sleep; no lock is held.
    ///
    /// # Errors
    /// [`TraceError::OutOfMemory`].
    pub fn switch_on(&self, mm: &Mm, points: Points) -> Result<(), TraceError> {
        let _turn = self.turn.write(mm.env);
        if !self.has_rings() {
            self.make_rings(mm)?;
        }
        self.change(mm, self.points().and(points));
        Ok(())
    }

    /// Switches points off. Their records stay. May sleep; no lock is held.
    pub fn switch_off(&self, mm: &Mm, points: Points) {
        let _turn = self.turn.write(mm.env);
        self.change(mm, self.points().without(points));
    }

    /// Forgets all records. Where no point is on, their memory goes back. May sleep; no lock is held.
    pub fn forget(&self, mm: &Mm) {
        let _turn = self.turn.write(mm.env);
        let points = self.points();
        self.change(mm, Points::NONE);
        if points == Points::NONE {
            return self.free_rings(mm);
        }
        self.rings.iter().for_each(|ring| ring.clear());
        if let Some(book) = self.book.lock().as_mut() {
            book.counted.fill(0);
            book.filtered = self.filter() != Filter::NONE;
        }
        self.change(mm, points);
    }

    /// Lets only such records through from now on. May sleep; no lock is held.
    pub fn set_filter(&self, mm: &Mm, filter: Filter) {
        let _turn = self.turn.write(mm.env);
        let points = self.points();
        self.change(mm, Points::NONE);
        self.sieve.set(filter);
        if let Some(book) = self.book.lock().as_mut() {
            book.filtered |= filter != Filter::NONE;
        }
        self.change(mm, points);
    }

    /// How large the ring of a CPU is from now on: the next power of two, in pages. May sleep; no lock is held.
    ///
    /// # Errors
    /// [`TraceError::Size`], [`TraceError::InUse`].
    pub fn set_ring_kib(&self, mm: &Mm, kib: u64) -> Result<(), TraceError> {
        let _turn = self.turn.write(mm.env);
        if !KIB.contains(&kib) {
            return Err(TraceError::Size(kib));
        }
        if self.has_rings() {
            return Err(TraceError::InUse);
        }
        self.bytes.store((kib << 10).next_power_of_two(), Ordering::Relaxed);
        Ok(())
    }

    /// Gives `f` the records while no point is on; afterwards those that were go on. May sleep; no lock is held.
    pub fn with_still<R>(&self, mm: &Mm, f: impl FnOnce(&Still<'_>) -> R) -> R {
        let _turn = self.turn.write(mm.env);
        let points = self.points();
        self.change(mm, Points::NONE);
        let result = f(&Still { trace: self, cpus: mm.env.online_cpus() });
        self.change(mm, points);
        result
    }

    /// These points are on and no others, from one moment on; what their counters say then is noted.
    fn change(&self, mm: &Mm, new: Points) {
        if self.points() == new {
            return;
        }
        mm.env.stop_machine(&mut || {
            let old = self.points();
            let mut book = self.book.lock();
            let Some(book) = book.as_mut() else { return };
            let says = |point: Point| point.counter().map_or(0, |counter| mm.stats.get(counter));
            for point in old.without(new).each() {
                let number = point as usize;
                book.counted[number] += says(point) - book.marks[number];
            }
            for point in new.without(old).each() {
                book.marks[point as usize] = says(point);
            }
            self.on.store(new.bits(), Ordering::Relaxed);
        });
    }

    fn make_rings(&self, mm: &Mm) -> Result<(), TraceError> {
        let order = Order::new((self.ring_bytes() / PAGE_SIZE).ilog2() as u8);
        let number = || try_array(Point::ALL.len(), || 0);
        let filtered = self.filter() != Filter::NONE;
        let book =
            Book { blocks: Vec::new_in(KAlloc), order, marks: number()?, counted: number()?, filtered };
        let mut book = Box::try_new_in(book, KAlloc).map_err(|_| OutOfMemory)?;
        book.blocks.try_reserve_exact(mm.env.online_cpus()).map_err(|_| OutOfMemory)?;
        for _ in 0..mm.env.online_cpus() {
            let block = if order <= MAX_ORDER {
                mm.alloc_pages(order, PageKind::Kernel).ok()
            } else {
                mm.alloc_contig(order, PageKind::Kernel).ok()
            };
            let Some(block) = block else {
                book.blocks.drain(..).for_each(|block| mm.free_pages(block, order));
                return Err(TraceError::OutOfMemory);
            };
            book.blocks.push(block);
        }
        for (ring, block) in self.rings.iter().zip(&book.blocks) {
            ring.give(block.pfn().phys(), order.bytes());
        }
        *self.book.lock() = Some(book);
        Ok(())
    }

    /// No point is on.
    fn free_rings(&self, mm: &Mm) {
        self.rings.iter().for_each(|ring| ring.take());
        let book = self.book.lock().take();
        if let Some(mut book) = book {
            let order = book.order;
            book.blocks.drain(..).for_each(|block| mm.free_pages(block, order));
        }
    }
}

/// The records, while no point is on.
pub struct Still<'t> {
    trace: &'t Trace,
    cpus: usize,
}

impl Still<'_> {
    /// The CPUs that may have records.
    pub fn cpus(&self) -> impl DoubleEndedIterator<Item = CpuId> + use<> {
        (0..self.cpus).map(CpuId::new)
    }
    /// Records that a CPU has written.
    #[must_use]
    pub fn written(&self, cpu: CpuId) -> u64 {
        self.trace.rings[cpu.index()].written()
    }
    /// The oldest of them, which made room for newer ones.
    #[must_use]
    pub fn lost(&self, cpu: CpuId) -> u64 {
        self.trace.rings[cpu.index()].lost()
    }
    /// Record `n` of a CPU, from 0 on; `None`: it was lost, or not written yet.
    #[must_use]
    pub fn record(&self, cpu: CpuId, n: u64) -> Option<Record> {
        self.trace.rings[cpu.index()].read(n)
    }
    /// The records of a CPU that are still there, the oldest first.
    pub fn records(&self, cpu: CpuId) -> impl Iterator<Item = Record> {
        (self.lost(cpu)..self.written(cpu)).filter_map(move |n| self.record(cpu, n))
    }
    /// By how much the counter of a point has gone up while the point was on; `None`: there is no counter.
    #[must_use]
    pub fn counted(&self, point: Point) -> Option<u64> {
        point.counter()?;
        self.trace.book.lock().as_ref().map(|book| book.counted[point as usize])
    }
    /// Whether a filter may have held records back.
    #[must_use]
    pub fn filtered(&self) -> bool {
        self.trace.book.lock().as_ref().is_some_and(|book| book.filtered)
    }
    /// The thread that a CPU runs.
    #[must_use]
    pub fn running(&self, cpu: CpuId) -> Running {
        self.trace.running(cpu)
    }
}
