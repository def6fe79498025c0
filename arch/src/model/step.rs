//! The one place where another vCPU may come between. Every lock, descriptor store, TLBI, barrier and
//! access of the contract passes here first, so a scheduler of virtual CPUs has to stand only here.

use std::cell::Cell;

use std::panic::resume_unwind;
use std::sync::atomic::Ordering;

use super::machine::{State, lock};
use super::stop::hold_if_wanted;
use crate::contract::CpuId;

/// What the vCPU is about to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Step {
    /// Take a lock, or pass another point that the code marks.
    Mark,
    /// One turn of a spin loop: nothing gets better until another vCPU runs.
    Relax,
    /// Store a descriptor.
    Store,
    /// Issue a TLBI.
    Tlbi,
    /// A barrier.
    Barrier,
    /// Access memory through the tables.
    Access,
}

/// One step in this many gives way, where a seed is given.
const ODDS: u64 = 16;

/// Turns of one spin loop after which a vCPU that is alone gives up.
const LONELY_TURNS: u64 = 1 << 20;

thread_local! {
    static NOISE: Cell<u64> = const { Cell::new(0) };
    static TURNS: Cell<u64> = const { Cell::new(0) };
}

/// What a vCPU panics with when it stops because another has panicked; the other's panic is the one to
/// report.
pub(super) struct Casualty;

/// Comes before each step of `cpu`.
///
/// # Panics
/// Another vCPU has panicked; or this one spins for ever, alone.
pub(super) fn before(state: &State, cpu: CpuId, step: Step) {
    if state.failed.load(Ordering::Relaxed) && !std::thread::panicking() {
        resume_unwind(Box::new(Casualty));
    }
    hold_if_wanted(state, cpu);
    if step == Step::Relax {
        spin(state, cpu);
    } else {
        TURNS.set(0);
        if state.desc.seed != 0 && noise(state.desc.seed, cpu).is_multiple_of(ODDS) {
            std::thread::yield_now();
        }
    }
}

/// One turn of a spin loop.
fn spin(state: &State, cpu: CpuId) {
    let turns = TURNS.get() + 1;
    TURNS.set(turns);
    let alone = || lock(&state.occupied).is_power_of_two();
    assert!(
        !turns.is_multiple_of(LONELY_TURNS) || !alone(),
        "model: vCPU {cpu} spins for ever: no other vCPU runs that could let it go on"
    );
    std::thread::yield_now();
}

/// The next number of this thread's xorshift64 sequence.
fn noise(seed: u64, cpu: CpuId) -> u64 {
    let mut x = NOISE.get();
    if x == 0 {
        x = seed.wrapping_add(cpu.index() as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    }
    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    NOISE.set(x);
    x >> 32
}
