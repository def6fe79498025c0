//! EL0 runs, and what each exception of it leads to.
//!
//! The thread of a process owns it for as long as it runs it: it calls EL0 like a function that returns with each
//! exception, and holds the process all the time, so that a system call needs no lock to know whose it is.
#![forbid(unsafe_code)]

use core::fmt;
use core::sync::atomic::Ordering;

use allocator_api2::boxed::Box;
use arch::aarch64::trap::{self, Resolution, UserExit};
use arch::aarch64::vectors::TrapFrame;
use arch::contract::{FaultStatus, Privilege};
use arch::esr::{self, Abort, Class, Far};
use arch::{Machine, VirtAddr};
use mm::fault::{self, FaultError, FaultInfo};
use mm::kalloc::{KAlloc, KArc};

use super::oom::{self, Relief};
use super::{ExitStatus, Process, Signal};
use crate::{irq, println, sched, syscall, the_mm};

/// What became of a fault on a user address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use = "a fault that is not resolved would be taken for ever"]
enum Resolved {
    /// The access is to be tried again.
    Yes,
    /// It cannot be made good.
    No,
}

/// The thread of a process: runs the program from these registers to its end.
pub fn run_user(process: KArc<Process>, first: Box<TrapFrame, KAlloc>) {
    let mut frame = *first;
    drop(first);
    while process.verdict().is_none() {
        match trap::run_user(&mut frame) {
            UserExit::Svc => {
                Machine::unmask_irqs();
                system_call(&process, &mut frame);
            }
            UserExit::Interrupt => {
                irq::handle();
                Machine::unmask_irqs();
            }
            UserExit::DataAbort => {
                Machine::unmask_irqs();
                user_abort(&process, &frame, esr::data_abort(frame.esr));
            }
            UserExit::InstructionAbort => {
                Machine::unmask_irqs();
                user_abort(&process, &frame, esr::instruction_abort(frame.esr));
            }
            UserExit::Exception(class) => {
                Machine::unmask_irqs();
                exception(&process, &frame, &class);
            }
        }
    }
    process.end();
}

/// An SVC.
fn system_call(process: &KArc<Process>, frame: &mut TrapFrame) {
    // Only this thread counts.
    process.syscalls.store(process.syscalls.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
    let result = syscall::perform(process, frame);
    frame.x[0] = result.cast_unsigned();
}

/// An access that the tables do not allow, or not yet.
#[inline(always)]
fn user_abort(process: &KArc<Process>, frame: &TrapFrame, abort: Abort) {
    // Walk A.1: the hardware says which address, which access, and why it failed.
    match fault_info(frame, abort, Privilege::User) {
        // A fault that is not resolved has ended the process.
        Some(info) => drop(user_fault(process, frame, &info)),
        None => kill(process, Signal::Bus, frame, &esr::decode(frame.esr)),
    }
}

/// Any other synchronous exception of EL0. One that cannot be made good ends the process.
fn exception(process: &KArc<Process>, frame: &TrapFrame, class: &Class) {
    match class {
        Class::FpTrap => {
            if let Err(error) = sched::fp_trap() {
                kill(process, Signal::Kill, frame, &error);
            }
        }
        Class::InstructionAbort(abort) | Class::DataAbort(abort) => user_abort(process, frame, *abort),
        Class::PcAlignment | Class::SpAlignment => kill(process, Signal::Bus, frame, class),
        Class::Brk(_) | Class::Debug => kill(process, Signal::Trap, frame, class),
        _ => kill(process, Signal::Ill, frame, class),
    }
}

/// A fault of the kernel's copies from and to user memory.
pub fn copy_fault(frame: &TrapFrame, abort: &Abort) -> Resolution {
    let info = fault_info(frame, *abort, Privilege::Kernel);
    match info.zip(sched::current_process()).map(|(info, process)| user_fault(&process, frame, &info)) {
        Some(Resolved::Yes) => Resolution::Retry,
        Some(Resolved::No) | None => Resolution::Unresolved,
    }
}

/// The abort as memory management wants it; `None` where it is not about a translation.
#[inline(always)]
fn fault_info(frame: &TrapFrame, abort: Abort, privilege: Privilege) -> Option<FaultInfo> {
    let about_translation = !matches!(abort.status, FaultStatus::Other(_));
    (about_translation && abort.far == Far::Valid).then(|| FaultInfo {
        va: VirtAddr::new(frame.far),
        access: abort.access,
        privilege,
        status: abort.status,
    })
}

/// A fault on a user address: of the program, or of the kernel's copy routines.
#[inline(always)]
fn user_fault(process: &KArc<Process>, frame: &TrapFrame, info: &FaultInfo) -> Resolved {
    match the_mm().handle_mm_fault(process.space(), info) {
        Ok(_) => Resolved::Yes,
        Err(error) => unresolved(process, frame, info, error),
    }
}

/// A program whose own fault cannot be resolved is killed; memory that is out kills somebody in either case, and then
/// the fault is tried again.
#[cold]
fn unresolved(
    process: &KArc<Process>,
    frame: &TrapFrame,
    info: &FaultInfo,
    mut error: FaultError,
) -> Resolved {
    let signal = loop {
        match error.signal() {
            fault::Signal::SegvMapErr | fault::Signal::SegvAccErr => break Signal::Segv,
            fault::Signal::Bus | fault::Signal::BusMceErrAr { .. } => break Signal::Bus,
            // It has its verdict, which nothing changes.
            fault::Signal::Ending => break Signal::Kill,
            fault::Signal::OutOfMemoryKill if oom::relieve(process) == Relief::GiveUp => break Signal::Kill,
            fault::Signal::OutOfMemoryKill => match the_mm().handle_mm_fault(process.space(), info) {
                Ok(_) => return Resolved::Yes,
                Err(again) => error = again,
            },
        }
    };
    if info.privilege == Privilege::User {
        kill(process, signal, frame, &error);
    }
    Resolved::No
}

/// Ends the process, and says why where nobody has before.
#[cold]
fn kill(process: &Process, signal: Signal, frame: &TrapFrame, why: &dyn fmt::Display) {
    if process.verdict().is_none() {
        let (pid, name) = (process.pid, process.name);
        println!("process {pid} ({name}): {signal} at pc {:#x}: {why}", frame.elr);
        process.decide(ExitStatus::Killed(signal));
    }
}
