//! Sleeping: a vCPU without anything to run until somebody wakes it.

use super::bind::current;
use super::sched::Phase;
use super::step::{Step, before};
use super::stuck;

/// Early returns of [`park_while`]: one in so many.
const EARLY: usize = 8;

/// Sleeps on `key` while `still_wait` holds, until [`unpark_all`] is called with that key. Nobody comes between the
/// question and the sleep. Returns early now and then, so the caller asks again. While it sleeps the vCPU takes
/// interrupts: it can be held, and others can act as it.
///
/// # Panics
/// Interrupts are masked; or nobody is left who could wake anybody.
#[track_caller]
pub fn park_while(key: usize, still_wait: &dyn Fn() -> bool) {
    current(|state, cpu| {
        let sched = &state.sched;
        assert!(!sched.is_masked(cpu), "model: vCPU {cpu} sleeps with interrupts masked");
        let place = sched.place(key);
        before(state, cpu, Step::Sleep(place));
        if !sched.undisturbed(still_wait) {
            return;
        }
        assert!(sched.running().is_some(), "{}", stuck::alone(cpu));
        if !state.seldom(EARLY) {
            sched.block(state, Phase::Sleeps(place));
        }
    });
}

/// Wakes everybody who sleeps on `key`.
#[track_caller]
pub fn unpark_all(key: usize) {
    current(|state, cpu| {
        let place = state.sched.place(key);
        let sleepers = state.sched.live().filter(|&task| state.sched.phase(task) == Phase::Sleeps(place));
        sleepers.for_each(|task| state.sched.set_phase(task, Phase::Ready));
        before(state, cpu, Step::Wake(place));
    });
}
