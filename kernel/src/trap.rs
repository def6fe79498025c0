//! Exceptions, each to who handles it.
#![forbid(unsafe_code)]

use arch::VirtAddr;
use arch::aarch64::trap::{Handlers, Resolution, set_handlers};
use arch::aarch64::vectors::TrapFrame;
use arch::contract::{FaultStatus, Privilege};
use arch::esr::{Abort, Class, Far};
use mm::fault::FaultInfo;

use crate::process::Signal;
use crate::process::trap::{Resolved, syscall, user_exception, user_fault};
use crate::{irq, panic, sched};

/// Takes every exception from now on.
pub fn init() {
    static HANDLERS: Handlers =
        Handlers { user: from_user, user_copy: from_copy, irq: irq::handle, fatal: panic::exception };
    set_handlers(&HANDLERS);
}

/// An exception of EL0, interrupts enabled.
fn from_user(frame: &mut TrapFrame, class: Class) {
    match &class {
        Class::Svc(_) => syscall(frame),
        Class::FpTrap => sched::fp_trap(),
        Class::InstructionAbort(abort) | Class::DataAbort(abort) => {
            // Walk A.1: the hardware says which address, which access, and why it failed.
            match fault(frame, abort, Privilege::User) {
                // A fault of EL0 that is not resolved ends the process, so this comes back only to try again.
                Some(info) => drop(user_fault(frame, &info)),
                None => user_exception(frame, Signal::Bus, &class),
            }
        }
        Class::PcAlignment | Class::SpAlignment => user_exception(frame, Signal::Bus, &class),
        Class::Brk(_) | Class::Debug => user_exception(frame, Signal::Trap, &class),
        _ => user_exception(frame, Signal::Ill, &class),
    }
}

/// A fault of the kernel's copies from and to user memory.
fn from_copy(frame: &TrapFrame, abort: &Abort) -> Resolution {
    match fault(frame, abort, Privilege::Kernel).map(|info| user_fault(frame, &info)) {
        Some(Resolved::Yes) => Resolution::Retry,
        Some(Resolved::No) | None => Resolution::Unresolved,
    }
}

/// The abort as memory management wants it; `None` where it is not about a translation.
fn fault(frame: &TrapFrame, abort: &Abort, privilege: Privilege) -> Option<FaultInfo> {
    let about_translation = !matches!(abort.status, FaultStatus::Other(_) | FaultStatus::TlbConflict);
    (about_translation && abort.far == Far::Valid).then(|| FaultInfo {
        va: VirtAddr::new(frame.far),
        access: abort.access,
        privilege,
        status: abort.status,
    })
}
