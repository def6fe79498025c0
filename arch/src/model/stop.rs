//! Holding all other vCPUs, as a kernel does by an interrupt that its handler does not leave.
//!
//! The interrupt reaches a vCPU at the next step that it takes with interrupts unmasked. So a vCPU is never
//! held inside a spinlock, nor inside any other stretch that masks interrupts, and may be held between any
//! two accesses outside of one.

use std::panic::resume_unwind;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::bind::{current, irqs_masked, swap_irq_mask};
use super::machine::{State, lock};
use super::step::Casualty;
use crate::contract::CpuId;

/// How long the others may take to arrive before that is taken for a deadlock of the test.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often a waiting vCPU looks whether the machine has changed otherwise.
const LOOK: Duration = Duration::from_millis(1);

/// Who is held, and for whom.
#[derive(Default)]
pub(super) struct Stop {
    /// Whether any vCPU stops the others: the one word that every step reads.
    wanted: AtomicBool,
    who: Mutex<Who>,
    changed: Condvar,
}

#[derive(Default)]
struct Who {
    stopper: Option<CpuId>,
    /// Bit n: vCPU n is held.
    held: u32,
}

/// Comes before each step: holds this vCPU while another one stops the machine.
pub(super) fn hold_if_wanted(state: &State, cpu: CpuId) {
    if state.stop.wanted.load(Ordering::Acquire) && !irqs_masked() {
        hold(state, cpu);
    }
}

fn hold(state: &State, cpu: CpuId) {
    let stop = &state.stop;
    let mut who = lock(&stop.who);
    who.held |= 1 << cpu.index();
    stop.changed.notify_all();
    while who.stopper.is_some_and(|stopper| stopper != cpu) {
        who = wait(state, who);
    }
    who.held &= !(1 << cpu.index());
}

/// Waits a little, or until something changes.
///
/// # Panics
/// Another vCPU has panicked.
fn wait<'a>(state: &'a State, who: std::sync::MutexGuard<'a, Who>) -> std::sync::MutexGuard<'a, Who> {
    let (who, _) = state.stop.changed.wait_timeout(who, LOOK).unwrap_or_else(PoisonError::into_inner);
    if state.failed.load(Ordering::Relaxed) && !std::thread::panicking() {
        drop(who);
        resume_unwind(Box::new(Casualty));
    }
    who
}

/// Lets the others go, also when the work panics.
struct Release<'a> {
    state: &'a State,
    masked: bool,
}

impl Drop for Release<'_> {
    fn drop(&mut self) {
        swap_irq_mask(self.masked);
        let mut who = lock(&self.state.stop.who);
        who.stopper = None;
        self.state.stop.wanted.store(false, Ordering::Release);
        drop(who);
        self.state.stop.changed.notify_all();
    }
}

/// Runs `f` on this vCPU, interrupts masked, while every other vCPU that a thread is at present is held.
///
/// # Panics
/// Interrupts are masked: two that stop each other so would wait for ever. Or a vCPU does not arrive for a
/// minute.
pub fn stop_others(f: &mut dyn FnMut()) {
    assert!(!irqs_masked(), "model: a vCPU stops the others with interrupts masked");
    current(|state, cpu| {
        claim(state, cpu);
        let _release = Release { state, masked: swap_irq_mask(true) };
        await_others(state, cpu);
        f();
    });
}

/// Becomes the one that stops the others, after those that were first.
fn claim(state: &State, cpu: CpuId) {
    loop {
        {
            let mut who = lock(&state.stop.who);
            if who.stopper.is_none() {
                who.stopper = Some(cpu);
                state.stop.wanted.store(true, Ordering::Release);
                return;
            }
        }
        hold(state, cpu);
    }
}

fn await_others(state: &State, cpu: CpuId) {
    let began = Instant::now();
    let mut who = lock(&state.stop.who);
    loop {
        let others = *lock(&state.occupied) & !(1 << cpu.index());
        if who.held & others == others {
            return;
        }
        assert!(
            began.elapsed() < PATIENCE,
            "model: vCPUs {others:#b} run, but only {:#b} are held",
            who.held
        );
        who = wait(state, who);
    }
}
