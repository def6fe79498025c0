//! Which machine the calling host thread runs.

use std::cell::Cell;
use std::panic::Location;
use std::ptr::NonNull;

use super::choice::Choices;
use super::desc::{DescError, MachineDesc};
use super::machine::State;
use super::owed;
use crate::contract::CpuId;

thread_local! {
    static BOUND: Cell<Option<NonNull<State>>> = const { Cell::new(None) };
}

/// Runs `f` on the current machine as the current vCPU. What the trace says of the next step is the place from
/// which this was called.
///
/// # Panics
/// The calling thread is no vCPU.
#[track_caller]
pub(super) fn current<R>(f: impl FnOnce(&State, CpuId) -> R) -> R {
    let Some(bound) = BOUND.get() else {
        panic!("model: this thread is no vCPU of any machine; run it inside model::with_machine")
    };
    // SAFETY: the state lives in a frame of `try_with_machine` on this thread, whose `Binding` clears `BOUND`
    // before the state goes; coroutines of that machine are finished or unwound before that frame goes on.
    let state = unsafe { bound.as_ref() };
    state.trace.stand_at(Location::caller());
    f(state, state.sched.cpu())
}

/// The thread runs a machine for as long as this lives.
struct Binding<'m> {
    machine: &'m State,
    outer: Option<NonNull<State>>,
    /// Whether the thread was unwinding before.
    unwinding: bool,
}

impl<'m> Binding<'m> {
    fn new(machine: &'m State) -> Self {
        let outer = BOUND.replace(Some(NonNull::from(machine)));
        Binding { machine, outer, unwinding: std::thread::panicking() }
    }
}

impl Drop for Binding<'_> {
    fn drop(&mut self) {
        BOUND.set(self.outer);
        if std::thread::panicking() && !self.unwinding {
            eprintln!("{}{}", self.machine.trace, self.machine.choices.seed());
        }
    }
}

/// Makes a machine, and runs `f` as its vCPU 0.
///
/// # Errors
/// No machine can be as described, or `MMU_SEED` is no seed.
pub fn try_with_machine<R>(desc: MachineDesc, f: impl FnOnce() -> R) -> Result<R, DescError> {
    desc.validate()?;
    let machine = State::new(desc, Choices::for_machine(desc.seed)?)?;
    let _binding = Binding::new(&machine);
    let result = f();
    if let Some(sentence) = owed::unpaid(&machine, &machine.regime()) {
        panic!("{sentence}");
    }
    machine.choices.end(machine.sched.steps());
    Ok(result)
}

/// [`try_with_machine`] for a description that is right.
///
/// When the machine ends by a panic, its last steps are printed, and the seed that makes the same run again.
///
/// # Panics
/// The description or `MMU_SEED` is wrong.
pub fn with_machine<R>(desc: MachineDesc, f: impl FnOnce() -> R) -> R {
    try_with_machine(desc, f).unwrap_or_else(|error| panic!("model: {error}"))
}

/// [`with_machine`] with [`MachineDesc::DEFAULT`].
pub fn with_default_machine<R>(f: impl FnOnce() -> R) -> R {
    with_machine(MachineDesc::DEFAULT, f)
}
