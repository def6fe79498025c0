//! Why nobody goes on, in a sentence.

use super::machine::State;
use super::sched::Phase;
use crate::contract::CpuId;

/// Who waits for what.
pub(super) fn sentence(state: &State) -> String {
    let sched = &state.sched;
    let live: Vec<_> = sched.live().collect();
    match live[..] {
        [] | [_] if live.iter().all(|&task| sched.phase(task) == Phase::Ready) => {
            let cpu = sched.cpu();
            format!("model: vCPU {cpu} spins for ever: no other vCPU runs that could let it go on")
        }
        _ => {
            let waits: Vec<_> = live.into_iter().map(|task| waits(state, task)).collect();
            format!("model: deadlock: {}", waits.join(", "))
        }
    }
}

/// A vCPU sleeps, and there is no other.
pub(super) fn alone(cpu: CpuId) -> String {
    format!("model: deadlock: vCPU {cpu} sleeps, and no other vCPU runs that could wake it")
}

fn waits(state: &State, task: CpuId) -> String {
    match state.sched.phase(task) {
        Phase::Sleeps(place) => format!("vCPU {task} sleeps at place {place}"),
        Phase::AwaitsTurn => format!("vCPU {task} waits to stop the others"),
        Phase::AwaitsOthers => format!("vCPU {task} waits for the others to stop"),
        Phase::AwaitsVcpu(cpu) => format!("vCPU {task} waits to act as vCPU {cpu}"),
        Phase::Absent | Phase::Ready => match state.trace.last_of(task) {
            Some((step, at)) => format!("vCPU {task} spins since {step} ({}:{})", at.file(), at.line()),
            None => format!("vCPU {task} spins"),
        },
    }
}
