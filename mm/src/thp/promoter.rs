//! The promoter: the queue of ranges that are ripe, and the kernel thread `kpromoted` that promotes them.
//!
//! A fault that reaches the threshold submits its range and goes on; the thread does the work. With `promote=sync` the
//! fault does it, and submits what it must give up ([`promote_now`]). A range is queued once
//! (the mark stands in its reservation). A promotion that failed for a passing reason, such as a fault under way or a
//! reference that a walker holds, is queued again and tried when the thread runs next, [`MOST_ATTEMPTS`] times.
//!
//! The queue grows outside its lock. Where there is no memory for that, the request is forgotten and nothing is marked,
//! so the next fault of the range submits it again.
#![forbid(unsafe_code)]

use core::sync::atomic::{AtomicUsize, Ordering};

use allocator_api2::vec::Vec;
use arch::VirtAddr;
use arch::sync::SpinLock;

use super::promote;
use super::record::{Key, Queued, Record};
use crate::Mm;
use crate::kalloc::{KAlloc, KArc};
use crate::locks;
use crate::space::{AddressSpace, Vma};
use crate::stats::Counter;

/// The name of the kernel thread.
pub const THREAD: &str = "kpromoted";
/// How often a range is tried before it is forgotten until its next fault.
pub const MOST_ATTEMPTS: u8 = 16;
const FIRST_CAPACITY: usize = 32;

struct Request {
    space: KArc<AddressSpace>,
    va: VirtAddr,
    attempts: u8,
}

/// The queue.
pub(super) struct Promoter {
    /// Q.
    queue: SpinLock<Ring>,
    /// Submissions since the thread last began to drain: what it waits for.
    fresh: AtomicUsize,
}

impl Promoter {
    pub(super) const fn new() -> Self {
        let ring = Ring { slots: Vec::new_in(KAlloc), first: 0, len: 0 };
        Promoter { queue: SpinLock::new(locks::RESERVATION_LIST, ring), fresh: AtomicUsize::new(0) }
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
    let promoter = &mm.thp.promoter;
    if offer(mm, Request { space: space.clone(), va, attempts: 0 }) {
        promoter.fresh.fetch_add(1, Ordering::Release);
        mm.env.unpark_all(promoter.key());
    }
}

/// Promotes the range of `va` at once, on behalf of the fault that has reached the threshold and made its entry. Where it
/// must be given up for a reason that may pass, the thread is asked to. The caller holds M for reading, as does whoever
/// promotes, and no other lock.
pub(super) fn promote_now(mm: &Mm, space: &KArc<AddressSpace>, vma: &Vma, va: VirtAddr) {
    match promote::promote_in(mm, space, vma, va) {
        Ok(()) => mm.stats.inc(Counter::ResPagesCollapsedSync),
        Err(error) if error.may_pass() => submit(mm, space, va),
        Err(_) => {}
    }
}

/// Queues a request and marks its reservation. Whether it is queued now and was not before.
///
/// Both is done under R, so a request stands in the queue only while, or after, its reservation stands in the table: once
/// a space's reservations are released nothing is queued for it any more.
fn offer(mm: &Mm, mut request: Request) -> bool {
    let promoter = &mm.thp.promoter;
    let key = Key::new(&request.space, request.va);
    loop {
        let wanted = {
            let bucket = mm.thp.table.lock(key);
            let unmarked = |record: &Record| record.queued() == Queued::No;
            let Some(record) = bucket.find(key).filter(unmarked) else { return false };
            let mut ring = promoter.queue.lock();
            match ring.push(request) {
                Ok(()) => {
                    record.set_queued(Queued::Yes);
                    return true;
                }
                Err(back) => request = back,
            }
            (2 * ring.slots.len()).max(FIRST_CAPACITY)
        };
        if !promoter.grow(wanted) {
            return false;
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
    queued.map(|request| Key::new(&request.space, request.va)).any(|other| other == key)
}

/// Tries one request; queues it again where the reason may pass. How many ranges were promoted: 0 or 1.
fn attempt(mm: &Mm, request: Request) -> u64 {
    unmark(mm, Key::new(&request.space, request.va));
    let Err(error) = promote::promote_range(mm, &request.space, request.va) else { return 1 };
    let attempts = request.attempts + 1;
    if error.may_pass() && attempts < MOST_ATTEMPTS {
        offer(mm, Request { attempts, ..request });
    }
    0
}

/// Forgets all requests of a space, and with them all shares in it. Called at its end, after its reservations are
/// released, so that no more come. The caller holds another share and no spinlock.
pub fn cancel(mm: &Mm, space: &AddressSpace) {
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

/// Sleeps until something has been submitted since the last [`drain`] began.
pub(super) fn wait(mm: &Mm) {
    let promoter = &mm.thp.promoter;
    while promoter.fresh.load(Ordering::Acquire) == 0 {
        mm.env.park(promoter.key(), &|| promoter.fresh.load(Ordering::Acquire) == 0);
    }
}
