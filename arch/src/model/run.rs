//! Virtual CPUs: coroutines that take turns on one host thread.
//!
//! **Why coroutines.** A schedule must replay exactly, so that a seed is a failure; host threads cannot promise
//! that, nor can they be moved between two loads of a table walk at will. Loom and shuttle can, but only for code
//! that uses their own locks and atomics, and they know nothing of TLBs and walkers, which are the other half of what
//! may happen between two steps. A coroutine has a whole stack, so `mm` runs on it unchanged, with its own
//! locks; to switch costs some 10 ns; and each choice comes from the machine's one stream ([`super::choice`]).
//!
//! **What it costs.** Two vCPUs never touch memory at the same moment: what may happen between two accesses that
//! are no steps (plain atomics, struct pages) is seen only at the next step. The memory model of the host's
//! compiler and CPU is not explored either.
//!
//! A panic in a job ends the run: the other coroutines are unwound where they stand, one after the other, so their
//! guards let go of what they hold, and the panic goes on in the caller. Nobody switches while a panic unwinds.

use std::any::Any;
use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use corosensei::stack::DefaultStack;
use corosensei::{Coroutine, CoroutineResult};

use super::bind::current;
use super::machine::State;
use super::sched::{Phase, Way};
use crate::contract::CpuId;

/// A job for [`run_on_cpus`]. What jobs share must be `Sync`, as on the machine.
pub type Job<'a> = Box<dyn FnOnce() + Send + 'a>;

/// Bytes of a coroutine's stack; the host gives pages to it as they are touched. A guard page follows.
const STACK: usize = 1 << 20;

thread_local! {
    /// Stacks of coroutines that have ended: to map one anew costs as much as a thousand steps.
    static STACKS: RefCell<Vec<DefaultStack>> = const { RefCell::new(Vec::new()) };
}

fn stack() -> DefaultStack {
    STACKS.with_borrow_mut(Vec::pop).unwrap_or_else(|| match DefaultStack::new(STACK) {
        Ok(stack) => stack,
        Err(error) => panic!("model: no stack of {STACK} bytes for a vCPU: {error}"),
    })
}

type Panic = Box<dyn Any + Send>;

/// A vCPU's job on its own stack.
type Strand = Coroutine<(), (), (), DefaultStack>;

/// Runs `jobs[n]` as vCPU n, in turns; the caller must be vCPU 0 and waits. Returns when all have ended. A panic in
/// one ends the others and goes on in the caller.
///
/// # Panics
/// The caller is not vCPU 0, or is a job itself; there are more jobs than vCPUs; or nobody can go on.
pub fn run_on_cpus(jobs: Vec<Job<'_>>) {
    current(|state, cpu| {
        assert_eq!(cpu, CpuId::BOOT, "model: run_on_cpus is for vCPU 0");
        assert!(state.sched.running().is_none(), "model: run_on_cpus inside of a job");
        let (jobs_len, cpus) = (jobs.len(), state.desc.cpus);
        assert!(jobs_len <= cpus, "model: {jobs_len} jobs for a machine of {cpus} vCPUs");
        let mut strands: Vec<_> = jobs.into_iter().map(|job| strand(state, job)).collect();
        state.sched.begin(strands.len());
        let outcome = catch_unwind(AssertUnwindSafe(|| take_turns(state, &mut strands)));
        let outcome = outcome.and(unwind(state, &mut strands));
        state.sched.finish();
        let stacks = strands.into_iter().map(Coroutine::into_stack);
        STACKS.with_borrow_mut(|pool| pool.extend(stacks));
        outcome.unwrap_or_else(|panic| resume_unwind(panic));
    });
}

fn strand(state: &State, job: Job<'_>) -> Strand {
    let body = |way: &Way, ()| {
        state.sched.set_way(way);
        state.regime().start(state.sched.cpu());
        job();
    };
    // SAFETY: what the body borrows outlives the coroutine: `run_on_cpus`, whose caller lends it all, drives each
    // coroutine to its end or unwinds it before it returns or panics.
    unsafe { Coroutine::with_stack_unchecked(stack(), body) }
}

/// Resumes whoever was chosen, until all have ended.
fn take_turns(state: &State, strands: &mut [Strand]) {
    let sched = &state.sched;
    let last = CpuId::new(state.desc.cpus - 1);
    let after = |task| sched.live().next().is_some().then(|| sched.someone(state, task));
    let mut turn = after(last);
    while let Some(task) = turn {
        sched.enter(task);
        turn = match strands[task.index()].resume(()) {
            CoroutineResult::Yield(()) => Some(sched.next()),
            CoroutineResult::Return(()) => {
                sched.end(task);
                after(task)
            }
        };
    }
}

/// Unwinds those that have not ended.
fn unwind(state: &State, strands: &mut [Strand]) -> Result<(), Panic> {
    let sched = &state.sched;
    sched.end_all();
    let mut outcome = Ok(());
    for (n, strand) in strands.iter_mut().enumerate() {
        let task = CpuId::new(n);
        sched.enter(task);
        outcome = outcome.and(catch_unwind(AssertUnwindSafe(|| strand.force_unwind())));
        sched.set_phase(task, Phase::Absent);
    }
    outcome
}
