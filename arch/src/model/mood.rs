//! When a vCPU gives way, and to whom.
//!
//! Uniform switching at every step finds shallow races quickly and deep ones hardly ever: a vCPU never gets far
//! while another stands in the middle of something. So the machine has *moods*, each for some 8 to 4096 steps: it
//! switches at every second step or at every 256th, and in some of them one vCPU is starved, as if the host's
//! scheduler, an SMI or a long interrupt had taken it away. What follows a descriptor store, a TLBI, a DSB or the
//! release of a lock is interrupted soonest, a load of a descriptor seldom, as there are many.
//!
//! Where the choices are listed, not random, there are no moods: every step may be followed by any vCPU.

use super::machine::State;
use super::sched::Others;
use super::step::Step;
use crate::contract::{CpuId, LockStep};

/// How the machine switches at present.
#[derive(Clone, Copy, Default)]
pub(super) struct Mood {
    /// A step of weight 1 is interrupted once in so many times.
    one_in: usize,
    /// Who does not run while anybody else can.
    starved: Option<CpuId>,
    /// Steps until the mood changes.
    left: u32,
}

/// How often each mood switches.
const ONE_IN: [usize; 4] = [2, 8, 32, 256];

impl Mood {
    fn any(state: &State) -> Self {
        let one_in = ONE_IN[state.choose(ONE_IN.len())];
        let left = 8 << state.choose(10);
        let starved = (state.choose(3) == 0).then(|| CpuId::new(state.choose(state.desc.cpus)));
        Mood { one_in, starved, left }
    }
}

/// The mood for this step.
fn now(state: &State) -> Mood {
    let mut mood = state.sched.mood.get();
    if mood.left == 0 {
        mood = Mood::any(state);
    }
    mood.left -= 1;
    state.sched.mood.set(mood);
    mood
}

/// How much more seldom than others a step is interrupted.
fn weight(step: Step) -> usize {
    match step {
        Step::Store { .. } | Step::Cas { .. } | Step::Tlbi(..) | Step::Dsb(_) => 1,
        Step::Lock(LockStep::Release, _) | Step::Wake(_) => 1,
        Step::Read(_) => 8,
        _ => 2,
    }
}

/// Who comes between before the `step` of `task`, which can run; mostly nobody.
pub(super) fn interrupts(state: &State, task: CpuId, step: Step) -> Option<CpuId> {
    if state.choices.are_random() {
        let mood = now(state);
        let at_once = mood.starved == Some(task);
        let comes = at_once || state.choose(mood.one_in * weight(step)) == 1;
        return comes.then(|| pick(state, state.sched.others(task))).flatten();
    }
    let others = state.sched.others(task);
    let choice = state.choose(others.as_slice().len() + 1);
    choice.checked_sub(1).map(|n| others.as_slice()[n])
}

/// One of `others`; `None` where there are none.
pub(super) fn pick(state: &State, others: Others) -> Option<CpuId> {
    let starved = state.choices.are_random().then(|| now(state).starved).flatten();
    let others = match starved {
        Some(task) => others.without(task),
        None => others,
    };
    let tasks = others.as_slice();
    (!tasks.is_empty()).then(|| tasks[state.choose(tasks.len())])
}
