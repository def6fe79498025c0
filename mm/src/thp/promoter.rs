//! The promoter: the queue of ranges that are ripe, and the kernel thread `kpromoted` that promotes them.
//!
//! A fault that reaches the threshold submits its range and goes on; the thread does the work. With `promote=sync` the
//! fault does it, and submits what it must give up (`promote_now`). A range is queued once (the mark stands in its
//! reservation). A promotion that failed since a fault is under way is queued again and tried when the thread runs next,
//! [`RETRY_NS`] later at most, [`MOST_ATTEMPTS`] times. Where it failed since pages are shared or in use, the range is
//! noted, and asked for until it is had ([`super::again`]).
//!
//! The queue grows outside its lock. Where there is no memory for that, nothing is marked, the range is noted and rests;
//! and where there is no memory for a note either, the next fault of the range submits it again.
#![forbid(unsafe_code)]

use core::sync::atomic::{AtomicUsize, Ordering};

use allocator_api2::vec::Vec;
use arch::VirtAddr;
use arch::sync::SpinLock;

use super::again::{self, Rests};
use super::held::Held;
use super::measure;
use super::promote::{self, PromoteError};
use super::record::{Key, Queued, Record};
use crate::Mm;
use crate::kalloc::{KAlloc, KArc};
use crate::locks;
use crate::space::{AddressSpace, Vma};
use crate::stats::Counter;

/// The name of the kernel thread.
pub const THREAD: &str = "kpromoted";
/// How often a range is tried, one attempt soon after the other, before it rests.
pub const MOST_ATTEMPTS: u8 = 16;
/// After so many nanoseconds what had to be given up is tried again.
pub const RETRY_NS: u64 = 10_000_000;
const FIRST_CAPACITY: usize = 32;

pub(super) struct Request {
    pub(super) space: KArc<AddressSpace>,
    pub(super) what: What,
    /// How often it was tried in vain.
    pub(super) attempts: u8,
}

/// What is asked for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum What {
    /// The range of an address, which has a reservation.
    Range(VirtAddr),
    /// Every range that the space has noted and wants now ([`super::holes`]).
    Holes,
}

/// The queue.
pub(super) struct Promoter {
    /// Q.
    queue: SpinLock<Ring>,
    /// Submissions since the thread last began to drain: what it waits for.
    fresh: AtomicUsize,
    /// When the next rest is over.
    pub(super) rests: Rests,
}

impl Promoter {
    pub(super) const fn new() -> Self {
        let ring = Ring { slots: Vec::new_in(KAlloc), first: 0, len: 0 };
        Promoter {
            queue: SpinLock::new(locks::RESERVATION_LIST, ring),
            fresh: AtomicUsize::new(0),
            rests: Rests::new(),
        }
    }

    /// Makes room for `wanted` requests. Whether there was memory for it.
    fn grow(&self, wanted: usize) -> bool {
        let mut slots = Vec::new_in(KAlloc);
        if slots.try_reserve_exact(wanted).is_err() {
            return false;
        }
        slots.resize_with(wanted, || None);
        let old = self.queue.lock().grow(slots);
        drop(old);
        true
    }

    fn key(&self) -> usize {
        core::ptr::from_ref(self).addr()
    }
}

/// Requests, first come first served, in a ring of slots.
struct Ring {
    slots: Vec<Option<Request>, KAlloc>,
    first: usize,
    len: usize,
}

impl Ring {
    /// Puts a request last, or returns it where the ring is full.
    fn push(&mut self, request: Request) -> Result<(), Request> {
        if self.len == self.slots.len() {
            return Err(request);
        }
        let at = (self.first + self.len) % self.slots.len();
        self.slots[at] = Some(request);
        self.len += 1;
        Ok(())
    }

    fn pop(&mut self) -> Option<Request> {
        if self.len == 0 {
            return None;
        }
        let request = self.slots[self.first].take();
        self.first = (self.first + 1) % self.slots.len();
        self.len -= 1;
        request
    }

    /// Moves to more slots, unless another thread was faster; returns the slots that are not needed.
    fn grow(&mut self, mut slots: Vec<Option<Request>, KAlloc>) -> Vec<Option<Request>, KAlloc> {
        if slots.len() <= self.slots.len() {
            return slots;
        }
        let len = self.len;
        slots[..len].fill_with(|| self.pop());
        self.first = 0;
        self.len = len;
        core::mem::replace(&mut self.slots, slots)
    }
}

/// Asks for the promotion of the range of `va`. Does nothing where it has no reservation or is queued. The caller holds
/// no spinlock.
// Walk A.7: the range is queued for kpromoted.
pub fn submit(mm: &Mm, space: &KArc<AddressSpace>, va: VirtAddr) {
    if offer(mm, Request { space: space.clone(), what: What::Range(va), attempts: 0 }) {
        wake(mm);
    }
}

/// Promotes the range of `va` at once, on behalf of the fault that has reached the threshold and made its entry. Where
/// it must be given up for a reason that may pass, the thread is asked to. The caller holds M for reading, as does
/// whoever promotes, and no other lock.
pub(super) fn promote_now(mm: &Mm, space: &KArc<AddressSpace>, vma: &Vma, va: VirtAddr) {
    let _held = Held::mmap_read(mm);
    let Err(error) = promote::promote_in(mm, space, vma, va) else {
        return mm.stats.inc(Counter::ResPagesCollapsedSync);
    };
    let request = Request { space: space.clone(), what: What::Range(va), attempts: 0 };
    if failed(mm, request, va, error) {
        wake(mm);
    }
}

/// An attempt at the range of `va` has failed: asks for it again where that may help. Whether something is queued that
/// was not before.
fn failed(mm: &Mm, request: Request, va: VirtAddr, error: PromoteError) -> bool {
    let under_way = matches!(error, PromoteError::InProgress(_)) && request.attempts < MOST_ATTEMPTS;
    if under_way {
        offer(mm, request)
    } else {
        error.may_be_shared() && again::keep(mm, &request.space, va, request.attempts)
    }
}

/// There may be work for the thread. The caller holds no spinlock above rank 80.
pub(super) fn wake(mm: &Mm) {
    let promoter = &mm.thp.promoter;
    promoter.fresh.fetch_add(1, Ordering::Release);
    mm.env.unpark_all(promoter.key());
}

/// Queues a request and marks its reservation. Whether it is queued now and was not before.
///
/// Both is done under R, so a request stands in the queue only while, or after, its reservation stands in the table:
/// once a space's reservations are released nothing is queued for it any more.
fn offer(mm: &Mm, request: Request) -> bool {
    let What::Range(va) = request.what else {
        return again::offer_holes(mm, &request.space, request.attempts);
    };
    let key = Key::new(&request.space, va);
    let space = request.space.clone();
    let pushed = push_where(mm, request, |push| {
        let bucket = mm.thp.table.lock(key);
        let unmarked = |record: &Record| record.queued() == Queued::No;
        let record = bucket.find(key).filter(unmarked)?;
        Some(push().map(|()| record.set_queued(Queued::Yes)))
    });
    if pushed == Pushed::NoMemory {
        again::rest(mm, &space, va);
    }
    pushed == Pushed::Yes
}

/// What became of a request.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Pushed {
    /// It is queued.
    Yes,
    /// Nobody wants it, or it was queued before.
    No,
    /// There is no memory for the queue.
    NoMemory,
}

/// The queue is full; it is to have room for so many.
pub(super) struct Full(usize);

/// Pushes a request where `locked` wants it: `locked` takes the lock that the request stands for, and calls the push it
/// is given or says no. Makes room, outside of that lock, where there is none.
pub(super) fn push_where(
    mm: &Mm,
    request: Request,
    locked: impl Fn(&mut dyn FnMut() -> Result<(), Full>) -> Option<Result<(), Full>>,
) -> Pushed {
    let promoter = &mm.thp.promoter;
    let mut request = Some(request);
    loop {
        let mut push = || {
            let mut ring = promoter.queue.lock();
            let Some(wanted) = request.take() else { return Ok(()) };
            ring.push(wanted).map_err(|back| {
                request = Some(back);
                Full((2 * ring.slots.len()).max(FIRST_CAPACITY))
            })
        };
        match locked(&mut push) {
            None => return Pushed::No,
            Some(Ok(())) => return Pushed::Yes,
            Some(Err(Full(wanted))) if promoter.grow(wanted) => {}
            Some(Err(Full(_))) => return Pushed::NoMemory,
        }
    }
}

fn unmark(mm: &Mm, key: Key) {
    if let Some(record) = mm.thp.table.lock(key).find(key) {
        record.set_queued(Queued::No);
    }
}

/// Tries every request that is queued now, once. Returns how many ranges were promoted. The caller holds no lock.
pub fn drain(mm: &Mm) -> u64 {
    let promoter = &mm.thp.promoter;
    promoter.fresh.store(0, Ordering::Relaxed);
    again::end_rests(mm, mm.env.now_ns());
    measure::again(mm);
    let queued = promoter.queue.lock().len;
    let mut promoted = 0;
    for _ in 0..queued {
        let Some(request) = promoter.queue.lock().pop() else { break };
        promoted += attempt(mm, request);
    }
    promoted
}

/// How many requests are queued.
#[must_use]
pub fn backlog(mm: &Mm) -> usize {
    mm.thp.promoter.queue.lock().len
}

/// Whether a request for this range is queued.
pub(super) fn is_queued(mm: &Mm, key: Key) -> bool {
    let ring = mm.thp.promoter.queue.lock();
    let queued = ring.slots.iter().flatten();
    queued.filter_map(Request::key).any(|other| other == key)
}

/// Whether a request for the holes of a space is queued.
pub(super) fn awaits_holes(mm: &Mm, space: &AddressSpace) -> bool {
    let ring = mm.thp.promoter.queue.lock();
    ring.slots.iter().flatten().any(|request| request.what == What::Holes && request.space.id == space.id)
}

impl Request {
    /// The one range that it asks for.
    fn key(&self) -> Option<Key> {
        match self.what {
            What::Range(va) => Some(Key::new(&self.space, va)),
            What::Holes => None,
        }
    }
}

/// Tries one request; asks again where the reason may pass. How many ranges were promoted.
fn attempt(mm: &Mm, request: Request) -> u64 {
    let What::Range(va) = request.what else { return again::attempt(mm, request) };
    unmark(mm, Key::new(&request.space, va));
    let Err(error) = promote::promote_range(mm, &request.space, va) else { return 1 };
    let attempts = request.attempts + 1;
    failed(mm, Request { attempts, ..request }, va, error);
    0
}

/// Forgets all requests of a space, and with them all shares in it. Called at its end, after its reservations are
/// released, so that no more come; its notes of holes are closed here. The caller holds another share and no spinlock.
pub fn cancel(mm: &Mm, space: &AddressSpace) {
    space.holes.close(&space.lineage);
    let mut ring = mm.thp.promoter.queue.lock();
    for _ in 0..ring.len {
        match ring.pop() {
            Some(request) if request.space.id != space.id => {
                let kept = ring.push(request);
                debug_assert!(kept.is_ok(), "a slot was freed just before");
            }
            _ => {}
        }
    }
}

/// The body of the thread [`THREAD`]: sleeps until something is submitted, and drains. Never returns.
pub fn run(mm: &Mm) {
    loop {
        wait(mm);
        drain(mm);
    }
}

/// Sleeps until something has been submitted since the last [`drain`] began; where that has left requests for another
/// attempt, no longer than [`RETRY_NS`], and no longer than until the next rest is over.
pub(super) fn wait(mm: &Mm) {
    let promoter = &mm.thp.promoter;
    let idle = || promoter.fresh.load(Ordering::Acquire) == 0;
    let again = mm.env.now_ns() + RETRY_NS;
    while idle() {
        let over = promoter.rests.next();
        let until = if backlog(mm) == 0 { over } else { Some(again.min(over.unwrap_or(again))) };
        match until {
            None => mm.env.park(promoter.key(), &idle),
            Some(until) if mm.env.now_ns() < until => {
                mm.env.park_until(promoter.key(), until, &idle);
            }
            Some(_) => return,
        }
    }
}
