//! The end of a process.
//!
//! ```text
//!   Life::verdict:  none --(exit, a signal; the first counts)--> how it ends
//!   Life::stage:    Lives --> Ends (its thread has left EL0 for good) --> Ended (its memory is free)
//! ```
#![forbid(unsafe_code)]

use core::sync::atomic::{AtomicU32, Ordering};

use arch::Machine;
use arch::contract::Cpu;

use super::{ExitStatus, Process, Signal, family};
use crate::sched::{self, ThreadId};
use crate::the_mm;

/// The process is to end: whatever it waits for is of no use to it any more.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Killed;

/// How far a process is.
pub(super) struct Life {
    /// [`NO_VERDICT`], or the encoded [`ExitStatus`].
    verdict: AtomicU32,
    /// [`LIVES`], [`ENDS`] or [`ENDED`].
    stage: AtomicU32,
}

const NO_VERDICT: u32 = u32::MAX;
const LIVES: u32 = 0;
const ENDS: u32 = 1;
const ENDED: u32 = 2;

impl Life {
    pub(super) const fn new() -> Self {
        Life { verdict: AtomicU32::new(NO_VERDICT), stage: AtomicU32::new(LIVES) }
    }
    /// Whether its address space may be installed.
    pub(super) fn has_space(&self) -> bool {
        self.stage.load(Ordering::Acquire) == LIVES
    }
    fn decided(&self) -> Option<ExitStatus> {
        match self.verdict.load(Ordering::Acquire) {
            NO_VERDICT => None,
            code => Some(ExitStatus::decode(code)),
        }
    }
}

impl Process {
    /// How it will end, once that is decided.
    pub(super) fn verdict(&self) -> Option<ExitStatus> {
        self.life.decided()
    }

    /// Whether it has left EL0 for good.
    pub(super) fn ends(&self) -> bool {
        self.life.stage.load(Ordering::Acquire) != LIVES
    }

    /// How it ended, if it has.
    pub fn status(&self) -> Option<ExitStatus> {
        if self.life.stage.load(Ordering::Acquire) == ENDED { self.verdict() } else { None }
    }

    /// Decides how it ends; the first decision counts. It ends as soon as its thread sees that.
    pub fn decide(&self, status: ExitStatus) {
        let first = self.life.verdict.compare_exchange(
            NO_VERDICT,
            status.encode(),
            Ordering::AcqRel,
            Ordering::Acquire,
        );
        if first.is_ok()
            && let Some(thread) = ThreadId::from_word(self.thread.load(Ordering::Acquire))
        {
            sched::wake(thread);
        }
    }

    /// Decides that a signal ends it.
    pub fn kill(&self, signal: Signal) {
        self.decide(ExitStatus::Killed(signal));
    }

    /// Waits on `key` while `still_wait` holds, on its own thread. May come back early.
    ///
    /// # Errors
    /// [`Killed`]: it is to end.
    pub fn park(&self, key: usize, still_wait: &dyn Fn() -> bool) -> Result<(), Killed> {
        sched::park(key, &|| self.verdict().is_none() && still_wait());
        if self.verdict().is_some() { Err(Killed) } else { Ok(()) }
    }

    /// Sleeps on its own thread; the end of the process ends the sleep.
    pub fn sleep_ns(&self, length: u64) {
        sched::sleep_ns_while(length, &|| self.verdict().is_none());
    }

    /// Waits for its end, on a thread of the kernel.
    pub fn wait(&self) -> ExitStatus {
        loop {
            if let Some(status) = self.status() {
                return status;
            }
            sched::park(self.key(), &|| self.status().is_none());
        }
    }

    /// Ends on its own thread, which ends next: closes what is open, waits for the rest of a family whose first it is,
    /// takes the address space apart, and says how it ended.
    pub(super) fn end(&self) {
        self.life.stage.store(ENDS, Ordering::Release);
        let irq = Machine::mask_irqs();
        the_mm().activate_space(None);
        Machine::restore_irqs(irq);
        self.descriptors.close_all();
        the_mm().destroy_space(&self.space);
        if self.first.is_none() {
            family::end_all_others(self);
        }
        self.life.stage.store(ENDED, Ordering::Release);
        family::depart(self);
        sched::unpark_all(self.key());
    }

    /// Waits until it has ended, for at most about this long, on a thread of another process.
    pub(super) fn wait_a_while(&self, ns: u64) {
        const TURN_NS: u64 = 1_000_000;
        for _ in 0..ns.div_ceil(TURN_NS) {
            if self.status().is_some() {
                return;
            }
            sched::sleep_ns(TURN_NS);
        }
    }

    /// What waiters for its end park on.
    fn key(&self) -> usize {
        core::ptr::from_ref(self).addr()
    }
}
