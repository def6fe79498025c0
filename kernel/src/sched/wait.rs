//! Waiting: for a key, for a time, for the end of a thread.
#![forbid(unsafe_code)]

use core::sync::atomic::{AtomicU32, Ordering, fence};

use super::switch::{kick, reschedule};
use super::table::TABLE;
use super::thread::{MAX_THREADS, State, ThreadId};
use crate::time;

/// How many threads wait for a key of each bucket, so that an unpark of nobody costs one load.
static WAITERS: [AtomicU32; BUCKETS] = [const { AtomicU32::new(0) }; BUCKETS];
const BUCKETS: usize = 64;

fn bucket(key: usize) -> &'static AtomicU32 {
    // Keys are addresses; their low bits say little.
    &WAITERS[(key >> 4 ^ key >> 12) % BUCKETS]
}

/// Sleeps on `key` while `still_wait` holds; it is asked under the lock that [`unpark_all`] takes. May return early.
pub fn park(key: usize, still_wait: &dyn Fn() -> bool) {
    bucket(key).fetch_add(1, Ordering::SeqCst);
    // Pairs with the fence of `unpark_all`: either it sees the count, or `still_wait` sees its change.
    fence(Ordering::SeqCst);
    reschedule(|table| {
        if still_wait()
            && let Some(thread) = table.running_thread()
        {
            thread.state = State::Parked(key);
        }
    });
    bucket(key).fetch_sub(1, Ordering::SeqCst);
}

/// Wakes everybody who is parked on `key`.
pub fn unpark_all(key: usize) {
    fence(Ordering::SeqCst);
    if bucket(key).load(Ordering::SeqCst) == 0 {
        return;
    }
    let mut table = TABLE.lock();
    for slot in 0..MAX_THREADS {
        if table.threads[slot].state == State::Parked(key) {
            table.make_runnable(slot as u16).into_iter().for_each(kick);
        }
    }
}

/// Sleeps for at least `length` nanoseconds; the timer tick (10 ms) is the unit in which it wakes.
pub fn sleep_ns(length: u64) {
    let until = time::now_ns().saturating_add(length);
    reschedule(|table| {
        if let Some(thread) = table.running_thread() {
            thread.state = State::Sleeping(until);
            table.note_sleeper(until);
        }
    });
}

/// Waits until the thread has ended.
pub fn join(id: ThreadId) {
    let alive = || TABLE.lock().is_alive(id);
    while alive() {
        sleep_ns(1_000_000);
    }
}
