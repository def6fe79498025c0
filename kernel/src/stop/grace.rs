//! Grace periods: every other CPU has been seen with its interrupts open, so whatever ran there with them masked has
//! ended. Nobody is held.
//!
//! Each CPU has a counter of its own, which it alone writes, and which moves where its interrupts are open or have just
//! been: an interrupt is taken (in the kernel or at EL0), threads change, the CPU begins to idle or ceases to. Its
//! lowest bit says that the CPU idles.
//!
//! ```text
//!   waiter                                    another CPU
//!   X = 1                                     section: masked ... reads X ... unmasked
//!   fence                                     counter += 2    (release)
//!   v = counter   even: wait, odd: it idles   fence
//!   while counter == v                        section: masked ... reads X ... unmasked
//!   Y = 1                   (acquire)
//! ```
//! # Guarantee
//! A section here is what a CPU does with its interrupts masked, without a change of threads.
//! 1. *Sections that begin after the return, and after the counter has moved, see X.* The waiter has not seen the move
//!    with its first look, so of the two fences (both sequentially consistent) the waiter's is first, and what that
//!    CPU reads after its own sees what was written before the waiter's. A CPU that idled at the first look has its
//!    fence when it ceases to, and the same holds.
//! 2. *Sections that may not have seen X have ended* when the counter has moved, as it moves between sections; and the
//!    waiter has seen what they did, as it acquires what that CPU released.
//!
//! An exception of EL0 that is no interrupt is not counted, as that would cost every system call. A CPU that runs a
//! program is moved by the waiter's interrupt, which is taken at once.
//!
//! The waiter gives all others some time to move by themselves, and then interrupts those that have not, once; the
//! handler does nothing.
#![forbid(unsafe_code)]

use core::array;
use core::sync::atomic::{AtomicU64, Ordering, fence};

use arch::Machine;
use arch::contract::{Cpu, CpuId, MAX_CPUS};

use super::figures::{self, Purpose};
use super::request::online;
use crate::{irq, sched, time};

/// For how long nobody is interrupted.
const PATIENCE_NS: u64 = 10_000;
/// Looks until the waiter lets other threads have its CPU.
const LOOKS: u32 = 1000;
/// The bit of a counter that says that the CPU idles.
const IDLE: u64 = 1;

/// A counter in a cache line of its own.
#[repr(align(64))]
struct Counter(AtomicU64);

static SEEN: [Counter; MAX_CPUS] = [const { Counter(AtomicU64::new(0)) }; MAX_CPUS];

fn own() -> &'static AtomicU64 {
    &SEEN[Machine::id().index()].0
}

/// No section is under way on this CPU, and it does not idle. Interrupts are masked.
pub fn seen() {
    let own = own();
    own.store((own.load(Ordering::Relaxed) | IDLE) + 1, Ordering::Release);
    fence(Ordering::SeqCst);
}

/// This CPU idles from now on until [`seen`]. Interrupts are masked.
pub fn idles() {
    let own = own();
    own.store(own.load(Ordering::Relaxed) | IDLE, Ordering::Release);
}

/// Returns when every other CPU has been seen with its interrupts open, or idle, since the call; see the
/// [module](self). No spinlock is held, interrupts are open.
pub fn grace_period() {
    arch::sync::assert_may_sleep("a grace period");
    figures::request(Purpose::Grace);
    // What the caller has written comes before the first look.
    fence(Ordering::SeqCst);
    let irq = Machine::mask_irqs();
    let mut others = online() & !(1 << Machine::id().index());
    let before: [u64; MAX_CPUS] = array::from_fn(|cpu| SEEN[cpu].0.load(Ordering::Acquire));
    Machine::restore_irqs(irq);
    // Takes those out of `others` that have moved, or idle; whether any is left.
    let mut left = || {
        for (cpu, before) in before.iter().enumerate() {
            let now = SEEN[cpu].0.load(Ordering::Acquire);
            if now != *before || now & IDLE != 0 {
                others &= !(1 << cpu);
            }
        }
        others
    };
    let until = time::now_ns() + PATIENCE_NS;
    while left() != 0 && time::now_ns() < until {
        Machine::relax();
    }
    let still = left();
    for cpu in (0..MAX_CPUS).filter(|cpu| still >> cpu & 1 == 1) {
        figures::sent(Purpose::Grace, 1);
        irq::nudge(CpuId::new(cpu));
    }
    for look in 1.. {
        if left() == 0 {
            break;
        }
        if look % LOOKS == 0 {
            sched::yield_now();
        }
        Machine::relax();
    }
    // What follows comes after the last look.
    fence(Ordering::SeqCst);
}
