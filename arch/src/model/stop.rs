//! Holding all other vCPUs, as a kernel does by an interrupt that its handler does not leave.
//!
//! The interrupt reaches a vCPU at the next step that it takes with interrupts unmasked. So a vCPU is never
//! held inside a spinlock, nor inside any other stretch that masks interrupts, and may be held between any
//! two steps outside of one, or asleep.

use super::bind::current;
use super::machine::State;
use super::sched::Phase;
use super::step::{Step, before};
use crate::contract::CpuId;

/// Lets the others go, also when the work panics.
struct Release<'m> {
    state: &'m State,
    cpu: CpuId,
}

impl Drop for Release<'_> {
    fn drop(&mut self) {
        self.state.sched.swap_mask(self.cpu, false);
        self.state.sched.set_stopper(None);
    }
}

/// Runs `f` on this vCPU, interrupts masked, while every other vCPU that has a job is held. Two that stop each other
/// do so one after the other.
///
/// # Panics
/// Interrupts are masked: two that stop each other so would wait for ever.
#[track_caller]
pub fn stop_others(f: &mut dyn FnMut()) {
    current(|state, cpu| {
        let sched = &state.sched;
        assert!(!sched.is_masked(cpu), "model: a vCPU stops the others with interrupts masked");
        before(state, cpu, Step::Stop);
        sched.block(state, Phase::AwaitsTurn);
        sched.set_stopper(sched.running());
        let release = Release { state, cpu };
        sched.block(state, Phase::AwaitsOthers);
        sched.swap_mask(cpu, true);
        f();
        drop(release);
        before(state, cpu, Step::Mark);
    });
}
