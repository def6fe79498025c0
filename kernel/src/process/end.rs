//! The end of a process.
#![forbid(unsafe_code)]

use core::sync::atomic::Ordering;

use arch::Machine;
use arch::contract::Cpu;
use mm::kalloc::KArc;

use super::{ENDS, ExitStatus, LIVES, Process};
use crate::{sched, the_mm};

impl Process {
    /// How it ended, if it has.
    pub fn status(&self) -> Option<ExitStatus> {
        match self.state.load(Ordering::Acquire) {
            LIVES | ENDS => None,
            code => Some(ExitStatus::decode(code)),
        }
    }

    /// Waits for its end.
    pub fn wait(&self) -> ExitStatus {
        loop {
            if let Some(status) = self.status() {
                return status;
            }
            sched::park(self.key(), &|| self.status().is_none());
        }
    }

    /// Takes the address space apart and says how the process ended. Called on its own thread, which must end next.
    fn take_apart(&self, status: ExitStatus) {
        self.state.store(ENDS, Ordering::Release);
        let irq = Machine::mask_irqs();
        the_mm().activate_space(None);
        Machine::restore_irqs(irq);
        the_mm().destroy_space(&self.space);
        self.state.store(status.encode(), Ordering::Release);
        sched::unpark_all(self.key());
    }

    fn key(&self) -> usize {
        core::ptr::from_ref(self).addr()
    }
}

/// Ends the process that `process` is the thread of. The reference that the caller held is dropped first: the thread
/// does not come back to drop it.
pub fn leave(process: KArc<Process>, status: ExitStatus) -> ! {
    process.take_apart(status);
    drop(process);
    sched::exit()
}
