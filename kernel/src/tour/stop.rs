//! One stop, and the count of them all. Stops are made by the tour's thread and, while that waits, by the thread of a
//! process that it observes: one at a time.
#![forbid(unsafe_code)]

use core::fmt;
use core::sync::atomic::{AtomicU32, Ordering};

use crate::println;

static STOPS: AtomicU32 = AtomicU32::new(0);
static FAILED: AtomicU32 = AtomicU32::new(0);

/// How a tour ended.
#[derive(Clone, Copy, Debug)]
pub struct Summary {
    /// Stops that were made.
    pub stops: u32,
    /// Stops of which something did not hold.
    pub failed: u32,
}

/// A new tour begins.
pub(super) fn begin_tour() {
    STOPS.store(0, Ordering::Relaxed);
    FAILED.store(0, Ordering::Relaxed);
}

/// The tour so far.
pub(super) fn summary() -> Summary {
    Summary { stops: STOPS.load(Ordering::Relaxed), failed: FAILED.load(Ordering::Relaxed) }
}

/// A stop, from its title to its last check. Counted when dropped.
#[must_use = "a stop is made by holding something against what must be"]
pub(super) struct Stop {
    name: &'static str,
    failed: bool,
}

impl Stop {
    /// Prints the title of a stop.
    pub(super) fn begin(name: &'static str, title: &str) -> Stop {
        println!("{name:<4} {title}");
        Stop { name, failed: false }
    }

    /// Holds something against what must be; `why` says what does not hold.
    pub(super) fn check(&mut self, holds: bool, why: fmt::Arguments<'_>) {
        if !holds {
            println!("    DOES NOT HOLD at {}: {why}", self.name);
            self.failed = true;
        }
    }
}

impl Drop for Stop {
    fn drop(&mut self) {
        STOPS.fetch_add(1, Ordering::Relaxed);
        FAILED.fetch_add(u32::from(self.failed), Ordering::Relaxed);
    }
}
