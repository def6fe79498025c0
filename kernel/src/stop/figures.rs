//! How often CPUs were asked for something, by how many interrupts, and how long they stood still for it.
//!
//! A CPU that stands still measures that itself, from its last moment before it has arrived to its first after it was
//! let go. With `-icount shift=0` a nanosecond is an instruction.
#![forbid(unsafe_code)]

use core::sync::atomic::{AtomicU64, Ordering};

/// What for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Purpose {
    /// [`super::stop_machine`].
    Stop,
    /// [`super::pause_others`].
    Pause,
    /// [`super::run_on_each_cpu`].
    Each,
    /// [`super::grace_period`].
    Grace,
}

/// A number for each purpose, since boot.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Asked {
    /// For [`super::stop_machine`].
    pub stop: u64,
    /// For [`super::pause_others`].
    pub pause: u64,
    /// For [`super::run_on_each_cpu`].
    pub each: u64,
    /// For [`super::grace_period`].
    pub grace: u64,
}

impl Asked {
    /// All of them.
    pub const fn total(self) -> u64 {
        self.stop + self.pause + self.each + self.grace
    }
}

/// How CPUs stood still for [`super::stop_machine`] and [`super::pause_others`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Pauses {
    /// Times that a CPU did: with n CPUs each request counts n - 1.
    pub count: u64,
    /// The sum of their lengths, in ns.
    pub total_ns: u64,
    /// The longest, in ns.
    pub longest_ns: u64,
}

type Counts = [AtomicU64; 4];

static REQUESTS: Counts = [const { AtomicU64::new(0) }; 4];
static INTERRUPTS: Counts = [const { AtomicU64::new(0) }; 4];
static COUNT: AtomicU64 = AtomicU64::new(0);
static TOTAL: AtomicU64 = AtomicU64::new(0);
static LONGEST: AtomicU64 = AtomicU64::new(0);

/// Requests since boot, on a machine with one CPU too.
pub fn asked() -> Asked {
    read(&REQUESTS)
}

/// Interrupts sent for them since boot: one for each CPU that it was sent to. Those that make a CPU choose another
/// thread are not among them.
pub fn ipis() -> Asked {
    read(&INTERRUPTS)
}

/// The pauses since the last [`take_pauses`].
pub fn pauses() -> Pauses {
    Pauses {
        count: COUNT.load(Ordering::Relaxed),
        total_ns: TOTAL.load(Ordering::Relaxed),
        longest_ns: LONGEST.load(Ordering::Relaxed),
    }
}

/// The pauses since the last call, which begin anew: all of requests that have returned. Nobody makes one meanwhile.
pub fn take_pauses() -> Pauses {
    let taken = pauses();
    [&COUNT, &TOTAL, &LONGEST].iter().for_each(|number| number.store(0, Ordering::Relaxed));
    taken
}

/// A request.
pub(super) fn request(purpose: Purpose) {
    REQUESTS[purpose as usize].fetch_add(1, Ordering::Relaxed);
}

/// Interrupts that a request has sent.
pub(super) fn sent(purpose: Purpose, cpus: usize) {
    INTERRUPTS[purpose as usize].fetch_add(cpus as u64, Ordering::Relaxed);
}

/// This CPU stood still for so long.
pub(super) fn stood_still(ns: u64) {
    COUNT.fetch_add(1, Ordering::Relaxed);
    TOTAL.fetch_add(ns, Ordering::Relaxed);
    LONGEST.fetch_max(ns, Ordering::Relaxed);
}

fn read(counts: &Counts) -> Asked {
    let of = |purpose: Purpose| counts[purpose as usize].load(Ordering::Relaxed);
    Asked {
        stop: of(Purpose::Stop),
        pause: of(Purpose::Pause),
        each: of(Purpose::Each),
        grace: of(Purpose::Grace),
    }
}
