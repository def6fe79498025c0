//! The state of one machine.
//!
//! All vCPUs of a machine run on one host thread, one at a time, so its state needs no locks: what looks like
//! several at once is several coroutines between two steps.

use std::cell::{RefCell, RefMut};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::choice::Choices;
use super::counters::Tally;
use super::desc::{DescError, MachineDesc};
use super::ram::Ram;
use super::regime::Regime;
use super::sched::Sched;
use super::trace::Trace;
use super::user::FaultHandler;

/// A machine.
pub(super) struct State {
    pub(super) desc: MachineDesc,
    pub(super) choices: Choices,
    pub(super) sched: Sched,
    pub(super) trace: Trace,
    pub(super) ram: Ram,
    regime: RefCell<Regime>,
    pub(super) tally: Tally,
    pub(super) fault_handler: Mutex<Option<Arc<FaultHandler>>>,
}

impl State {
    /// A machine that is as `desc` says, which is valid.
    ///
    /// # Errors
    /// The host has no memory for it.
    pub(super) fn new(desc: MachineDesc, choices: Choices) -> Result<Self, DescError> {
        Ok(State {
            desc,
            choices,
            sched: Sched::new(desc.cpus),
            trace: Trace::new(),
            ram: Ram::new(desc.ram_base, desc.ram_bytes)?,
            regime: RefCell::new(Regime::new(&desc)),
            tally: Tally::default(),
            fault_handler: Mutex::new(None),
        })
    }

    /// What the vCPUs know and may hold of tables. Nobody takes a step meanwhile.
    pub(super) fn regime(&self) -> RefMut<'_, Regime> {
        self.regime.borrow_mut()
    }
}

/// Locks a host mutex. A panic elsewhere is a test's verdict, not a reason to fail here as well.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
