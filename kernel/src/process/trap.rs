//! What an exception of a process leads to. All of these are called on the thread's own kernel stack, with
//! interrupts open.
#![forbid(unsafe_code)]

use core::fmt;
use core::sync::atomic::Ordering;

use arch::aarch64::vectors::TrapFrame;
use arch::contract::Privilege;
use mm::fault::{self, FaultInfo};
use mm::kalloc::KArc;

use super::end::leave;
use super::{ExitStatus, Process, Signal};
use crate::syscall::{self, Call};
use crate::{println, sched, the_mm};

/// What became of a fault on a user address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use = "a fault that is not resolved would be taken for ever"]
pub enum Resolved {
    /// The access is to be tried again.
    Yes,
    /// The kernel made the access on the user's behalf, and it cannot be made good.
    No,
}

/// An SVC of EL0.
pub fn syscall(frame: &mut TrapFrame) {
    let Some(process) = sched::current_process() else { return };
    let number = frame.x[8];
    let args = [frame.x[0], frame.x[1], frame.x[2], frame.x[3], frame.x[4], frame.x[5]];
    process.syscalls.fetch_add(1, Ordering::Relaxed);
    let result = syscall::perform(process, &Call { number, args });
    frame.x[0] = result.cast_unsigned();
}

/// A fault on a user address: of the program, or of the kernel's copy routines. A program whose fault cannot be
/// resolved is killed, and this does not return.
pub fn user_fault(frame: &TrapFrame, info: &FaultInfo) -> Resolved {
    let Some(process) = sched::current_process() else { return Resolved::No };
    let error = match the_mm().handle_mm_fault(process.space(), info) {
        Ok(_) => return Resolved::Yes,
        Err(error) => error,
    };
    if info.privilege == Privilege::Kernel {
        return Resolved::No;
    }
    let signal = match error.signal() {
        fault::Signal::SegvMapErr | fault::Signal::SegvAccErr => Signal::Segv,
        fault::Signal::Bus => Signal::Bus,
        fault::Signal::OutOfMemoryKill => Signal::Kill,
    };
    kill(process, signal, frame, &error)
}

/// Any other exception of EL0: the program is killed. `what` says which, in words.
pub fn user_exception(frame: &TrapFrame, signal: Signal, what: &dyn fmt::Display) -> ! {
    match sched::current_process() {
        Some(process) => kill(process, signal, frame, what),
        None => panic!("an exception of EL0 without a process: {what}"),
    }
}

fn kill(process: KArc<Process>, signal: Signal, frame: &TrapFrame, why: &dyn fmt::Display) -> ! {
    let (pid, name) = (process.pid, process.name);
    println!("process {pid} ({name}): {signal} at pc {:#x}: {why}", frame.elr);
    leave(process, ExitStatus::Killed(signal))
}
