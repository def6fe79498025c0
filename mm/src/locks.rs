//! The order of locks, and the sleeping lock.
//!
//! A CPU takes spinlocks in rising rank, and a thread sleeping locks, with no spinlock held; `arch::sync` checks both
//! in debug builds and in every host test.
//!
//! | letter | rank | lock | protects |
//! |---|--:|---|---|
//! | - | 7 | trace (sleeping) | that one thread at a time switches tracepoints, or reads what they wrote |
//! | - | 8 | turn (sleeping) | whose turn it is to use an open file, in the kernel |
//! | - | 9 | victim (sleeping) | that one thread at a time chooses who is killed for want of memory, in the kernel |
//! | M | 10 | mmap lock (sleeping) | the VMAs of an address space |
//! | F | 11 | hugetlb fault (sleeping) | that one thread at a time makes a huge page of hugetlb for a place |
//! | - | 12 | size of an object (sleeping) | that one thread at a time changes it, or takes pages out |
//! | - | 13 | hugetlb resize (sleeping) | that one thread at a time grows, shrinks or treats the pool |
//! | - | 14 | isolation (sleeping) | that one thread at a time isolates a range |
//! | - | 15 | khugepaged | where khugepaged stands in the list of live address spaces |
//! | S | 16 | address spaces | the list of live address spaces |
//! | L | 17 | link | one space's link in that list |
//! | - | 18 | owner numbers | which small numbers of spaces are in use |
//! | - | 20 | contexts of a space | which userfault contexts serve one space |
//! | - | 23 | userfaults | the faults of one context that wait |
//! | - | 24 | device queue | transfers that were submitted to a device and not done |
//! | - | 26 | objects | the list of live objects |
//! | - | 28 | objects of a space | which objects one space maps |
//! | G | 30 | lineage | one tree of spaces that descend from each other: its nodes; that no entry moves between places of rmap |
//! | - | 31 | lineage numbers | one bucket of the nodes by number |
//! | I | 32 | spaces of an object | which spaces map one object; that no entry of it moves between VMAs |
//! | - | 34 | holes | ranges of one space that are to be promoted again |
//! | - | 35 | VMA set | the set itself, for the length of a look or a change; who may change it is decided by M |
//! | - | 36 | promises of a space | which hugetlb pages the pools have promised to private mappings of objects |
//! | O | 38 | object | one object's pages and its size; that no entry for one of its pages is made |
//! | R | 40 | reservation | one bucket of the table of reservations: its chain and their records |
//! | Q | 45 | promoter | the promoter's queue |
//! | T | 50 | page-table lock | the tables of one user root |
//! | U | 52 | partial reservations | the order in which reservations were last populated |
//! | V | 55 | vmemmap tables | the kernel's own tables |
//! | D | 58 | deferred split | the lists of folios that are mapped in part, and of huge pages that may be underused |
//! | H | 60 | hugetlb pool | free huge pages and their numbers |
//! | - | 62 | failed frames | which pages of hugetlb folios have failed |
//! | A | 65 | ASIDs | the generation and the map of used ASIDs |
//! | - | 67 | trace book | the memory of the rings of traces, and what was counted beside them |
//! | Z | 70 | zone | free lists of the buddy allocator |
//! | P | 80 | per-CPU lists | one CPU's cache of free pages |
//! | - | 85 | scheduler | run queue and wait queues, in the kernel |
//! | - | 90 | console | the UART, in the kernel |
//! | K | 95 | kernel heap | small blocks; taken by allocations and frees everywhere |
//!
//! Everything that is needed is allocated before rank 40, and nobody waits for a DSB that completes a
//! broadcast at rank 60 or above.
#![forbid(unsafe_code)]

use core::sync::atomic::{AtomicUsize, Ordering};

use arch::sync::{Rank, sleeping};

use crate::env::KernelEnv;

/// The right to switch tracepoints; a sleeping lock.
pub const TRACE_TURN: Rank = Rank(7);
/// Whose turn it is to use an open file (kernel); a sleeping lock.
pub const TURN: Rank = Rank(8);
/// The choice of a victim where memory is out (kernel); a sleeping lock.
pub const VICTIM: Rank = Rank(9);
/// The mmap lock of an address space; a sleeping lock.
pub const MMAP: Rank = Rank(10);
/// One bucket of the places where faults make huge pages of hugetlb; a sleeping lock.
pub const HUGETLB_FAULT: Rank = Rank(11);
/// The right to change an object's size; a sleeping lock.
pub const OBJECT_RESIZE: Rank = Rank(12);
/// The right to change the size of the hugetlb pool; a sleeping lock.
pub const HUGETLB_RESIZE: Rank = Rank(13);
/// The right to isolate a range of frames; a sleeping lock.
pub const ISOLATION: Rank = Rank(14);
/// Where khugepaged stands.
pub const KHUGEPAGED: Rank = Rank(15);
/// The list of live address spaces.
pub const SPACES: Rank = Rank(16);
/// One space's link in that list.
pub const SPACE_LINK: Rank = Rank(17);
/// Which small numbers of address spaces are in use.
pub const OWNER_IDS: Rank = Rank(18);
/// The userfault contexts of one space.
pub const USERFAULTS: Rank = Rank(20);
/// The faults of one userfault context.
pub const USERFAULT: Rank = Rank(23);
/// What a device has to do.
pub const DMA: Rank = Rank(24);
/// The list of live objects.
pub const OBJECTS: Rank = Rank(26);
/// The objects that one space maps.
pub const SPACE_OBJECTS: Rank = Rank(28);
/// One tree of spaces that descend from each other.
pub const LINEAGE: Rank = Rank(30);
/// One bucket of the nodes of all trees, by number.
pub const LINEAGE_INDEX: Rank = Rank(31);
/// The spaces that map one object.
pub const OBJECT_SPACES: Rank = Rank(32);
/// The ranges of one space that are to be promoted again.
pub const HOLES: Rank = Rank(34);
/// The set of VMAs of an address space.
pub const VMAS: Rank = Rank(35);
/// What the hugetlb pools have promised to one space's private mappings of objects.
pub const HUGETLB_OWED: Rank = Rank(36);
/// One object's pages and its size.
pub const OBJECT: Rank = Rank(38);
/// One bucket of the table of reservations.
pub const RESERVATION: Rank = Rank(40);
/// The promoter's queue.
pub const RESERVATION_LIST: Rank = Rank(45);
/// Tables of a user root.
pub const PAGE_TABLE: Rank = Rank(50);
/// The queue of partially populated reservations.
pub const RESERVATION_ORDER: Rank = Rank(52);
/// The kernel's own tables.
pub const KERNEL_TABLE: Rank = Rank(55);
/// The lists of folios that are mapped in part, and of huge pages that may be underused.
pub const DEFERRED_SPLIT: Rank = Rank(58);
/// hugetlb pool.
pub const HUGETLB_POOL: Rank = Rank(60);
/// Which pages of hugetlb folios have failed.
pub const FAILED_FRAMES: Rank = Rank(62);
/// ASID allocator.
pub const ASIDS: Rank = Rank(65);
/// What belongs to the rings of traces.
pub const TRACE_BOOK: Rank = Rank(67);
/// Zone free lists.
pub const ZONE: Rank = Rank(70);
/// Per-CPU page lists.
pub const PER_CPU: Rank = Rank(80);
/// Scheduler (kernel).
pub const SCHEDULER: Rank = Rank(85);
/// Console (kernel).
pub const CONSOLE: Rank = Rank(90);
/// Kernel heap.
pub const HEAP: Rank = Rank(95);

/// A sleeping lock for readers and writers, with a rank. Nobody may hold a spinlock while taking it, nor a sleeping
/// lock of the same or a higher rank ([`arch::sync::sleeping`]). Writers are not preferred: as with any lock whose
/// readers come from page faults, a stream of readers can delay one.
#[derive(Debug)]
pub struct SleepLock {
    rank: Rank,
    /// Who holds it: nobody (0), a [`READER`] for each who reads, or a [`WRITER`]; and [`WAITED`].
    state: AtomicUsize,
}

/// Somebody may sleep until the lock is free. Who lets go of it takes the mark away and wakes all; so where nobody
/// waits, letting go is one atomic operation.
const WAITED: usize = 1;
/// One reader more.
const READER: usize = 2;
/// It is held for writing.
const WRITER: usize = !WAITED;

impl SleepLock {
    /// A free lock.
    #[must_use]
    pub const fn new(rank: Rank) -> Self {
        SleepLock { rank, state: AtomicUsize::new(0) }
    }

    /// Takes the lock for reading; sleeps while it is written.
    #[inline]
    pub fn read<'a>(&'a self, env: &'a dyn KernelEnv) -> ReadGuard<'a> {
        self.acquire(env, Self::enter_read);
        ReadGuard { lock: self, env }
    }

    /// Takes the lock for reading, unless it is written now.
    #[inline]
    pub fn try_read<'a>(&'a self, env: &'a dyn KernelEnv) -> Option<ReadGuard<'a>> {
        arch::sync::assert_may_sleep("a sleeping lock");
        self.enter_read().then(|| {
            sleeping::take(self.rank);
            ReadGuard { lock: self, env }
        })
    }

    /// Takes the lock for writing; sleeps while anybody holds it.
    #[inline]
    pub fn write<'a>(&'a self, env: &'a dyn KernelEnv) -> WriteGuard<'a> {
        self.acquire(env, Self::enter_write);
        WriteGuard { lock: self, env }
    }

    #[inline]
    fn acquire(&self, env: &dyn KernelEnv, attempt: impl Fn(&Self) -> bool) {
        sleeping::take(self.rank);
        if !attempt(self) {
            self.wait(env, &attempt);
        }
    }

    /// Sleeps until the attempt succeeds. A change of the state that `park` does not see has come with a wake-up, or
    /// will.
    #[cold]
    fn wait(&self, env: &dyn KernelEnv, attempt: &dyn Fn(&Self) -> bool) {
        while !attempt(self) {
            let busy = self.state.fetch_or(WAITED, Ordering::Relaxed) | WAITED;
            env.park(self.key(), &|| busy != WAITED && self.state.load(Ordering::Relaxed) == busy);
        }
    }

    #[inline]
    fn enter_read(&self) -> bool {
        let enter = |state: usize| (state < WRITER - READER).then(|| state + READER);
        self.state.fetch_update(Ordering::Acquire, Ordering::Relaxed, enter).is_ok()
    }

    #[inline]
    fn enter_write(&self) -> bool {
        let enter = |state: usize| (state <= WAITED).then_some(state | WRITER);
        self.state.fetch_update(Ordering::Acquire, Ordering::Relaxed, enter).is_ok()
    }

    /// One reader, or the writer, lets go: `held` is what it had of the state.
    #[inline]
    fn let_go(&self, env: &dyn KernelEnv, held: usize) {
        if self.state.fetch_sub(held, Ordering::Release) & WAITED != 0 {
            self.wake(env);
        }
        sleeping::let_go(self.rank);
    }

    #[cold]
    fn wake(&self, env: &dyn KernelEnv) {
        self.state.fetch_and(!WAITED, Ordering::Relaxed);
        env.unpark_all(self.key());
    }

    fn key(&self) -> usize {
        core::ptr::from_ref(self).addr()
    }
}

/// The lock is held for reading.
pub struct ReadGuard<'a> {
    lock: &'a SleepLock,
    env: &'a dyn KernelEnv,
}

/// The lock is held for writing.
pub struct WriteGuard<'a> {
    lock: &'a SleepLock,
    env: &'a dyn KernelEnv,
}

impl Drop for ReadGuard<'_> {
    #[inline]
    fn drop(&mut self) {
        self.lock.let_go(self.env, READER);
    }
}

impl Drop for WriteGuard<'_> {
    #[inline]
    fn drop(&mut self) {
        self.lock.let_go(self.env, WRITER);
    }
}
