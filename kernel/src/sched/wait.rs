//! Waiting: for a key, for a time, for the end of a thread.
#![forbid(unsafe_code)]

use core::sync::atomic::{AtomicU32, Ordering, fence};

use super::switch::{kick, reschedule};
use super::table::{BUCKETS, TABLE, bucket};
use super::thread::{State, ThreadId};
use crate::time;

/// How many threads wait for a key of each bucket, so that an unpark of nobody costs one load.
static WAITERS: [AtomicU32; BUCKETS] = [const { AtomicU32::new(0) }; BUCKETS];

/// Sleeps on `key` while `still_wait` holds; it is asked under the lock that [`unpark_all`] takes. May return early.
pub fn park(key: usize, still_wait: &dyn Fn() -> bool) {
    park_as(State::Parked(key), key, still_wait);
}

/// As [`park`], until this time at most, in nanoseconds since boot; the timer tick (10 ms) is the unit in which it
/// wakes.
pub fn park_until(key: usize, until: u64, still_wait: &dyn Fn() -> bool) {
    park_as(State::ParkedUntil(key, until), key, still_wait);
}

fn park_as(state: State, key: usize, still_wait: &dyn Fn() -> bool) {
    let waiters = &WAITERS[bucket(key)];
    waiters.fetch_add(1, Ordering::SeqCst);
    // Pairs with the fence of `unpark_all`: either it sees the count, or `still_wait` sees its change.
    fence(Ordering::SeqCst);
    reschedule(|table| {
        if still_wait() {
            table.wait_for(state);
        }
    });
    waiters.fetch_sub(1, Ordering::SeqCst);
}

/// Wakes everybody who is parked on `key`.
pub fn unpark_all(key: usize) {
    fence(Ordering::SeqCst);
    if WAITERS[bucket(key)].load(Ordering::SeqCst) != 0 {
        TABLE.lock().wake_parked(key, kick);
    }
}

/// Ends the wait of one thread, whatever it waits for. What it waits for must be something that may end early.
pub fn wake(id: ThreadId) {
    let mut table = TABLE.lock();
    if table.is_alive(id) {
        table.wake(id.slot).into_iter().for_each(kick);
    }
}

/// Sleeps for at least `length` nanoseconds; the timer tick (10 ms) is the unit in which it wakes.
pub fn sleep_ns(length: u64) {
    sleep_ns_while(length, &|| true);
}

/// As [`sleep_ns`], but not at all where `still_wait` says so; it is asked under the lock that [`wake`] takes, which
/// ends the sleep early.
pub fn sleep_ns_while(length: u64, still_wait: &dyn Fn() -> bool) {
    let until = time::now_ns().saturating_add(length);
    reschedule(|table| {
        if still_wait() {
            table.wait_for(State::Sleeping(until));
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
