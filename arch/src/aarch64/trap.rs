//! From a vector to the kernel: an exception of the kernel goes to one of the handlers that the kernel gave, one of EL0
//! ends the call that ran EL0.

use spin::Once;

use super::vectors::{self, TrapFrame, Vector};
use super::{Machine, uaccess};
use crate::addr::VirtAddr;
use crate::contract::Cpu;
use crate::esr::{self, Abort, Class, Far};

/// What became of a fault.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub enum Resolution {
    /// Resolved: the access is tried again.
    Retry,
    /// Not resolved.
    Unresolved,
}

/// Why the machine cannot go on.
#[derive(Clone, Copy, Debug)]
pub enum Fatal {
    /// An exception of the kernel itself that nobody resolves.
    Kernel(Class),
    /// The kernel stack ran over.
    StackOverflow,
    /// A vector that nothing should take: FIQ, SError, SP_EL0 at EL1, AArch32.
    Vector(Vector, Class),
}

/// The kernel's handlers. They are called on the stack of the thread that was interrupted.
#[derive(Debug)]
pub struct Handlers {
    /// A data abort of a copy from or to user memory. Interrupts are as the copy had them. One that is not
    /// resolved makes the copy return [`crate::UserFault`].
    pub user_copy: fn(&TrapFrame, &Abort) -> Resolution,
    /// Any other data abort of the kernel whose address is known (`far` of the frame). Interrupts are masked, and the CPU
    /// may hold any spinlock. One that is not resolved is fatal.
    pub kernel_data: fn(&TrapFrame, &Abort) -> Resolution,
    /// An interrupt. Interrupts are masked; the handler may switch threads.
    pub irq: fn(),
    /// The end. Interrupts are masked.
    pub fatal: fn(&TrapFrame, Fatal) -> !,
}

static HANDLERS: Once<&'static Handlers> = Once::new();

/// Takes the kernel's handlers; the first call counts. An exception before that stops the CPU.
pub fn set_handlers(handlers: &'static Handlers) {
    HANDLERS.call_once(|| handlers);
}

fn handlers() -> &'static Handlers {
    match HANDLERS.get() {
        Some(handlers) => handlers,
        None => Machine::halt(),
    }
}

/// Why EL0 does not run any more.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum UserExit {
    /// It made a system call.
    Svc,
    /// A data abort; the frame holds its syndrome ([`esr::data_abort`]).
    DataAbort,
    /// An instruction abort; likewise ([`esr::instruction_abort`]).
    InstructionAbort,
    /// Another synchronous exception.
    Exception(Class),
    /// An interrupt is to be handled.
    Interrupt,
}

/// Runs EL0 as `frame` says until its next exception, and says which; the frame holds the registers then. Interrupts
/// are masked when this returns, whatever they were before.
///
/// # Panics
/// The frame is one of EL1.
#[inline(always)]
pub fn run_user(frame: &mut TrapFrame) -> UserExit {
    assert!(frame.from_user(), "entering EL0 with a frame of EL1");
    match vectors::run_user(frame) {
        Vector::USER_SYNC => match frame.esr >> 26 {
            esr::EC_SVC => UserExit::Svc,
            esr::EC_USER_DATA_ABORT => UserExit::DataAbort,
            esr::EC_USER_INSTRUCTION_ABORT => UserExit::InstructionAbort,
            _ => UserExit::Exception(esr::decode(frame.esr)),
        },
        Vector::USER_IRQ => UserExit::Interrupt,
        vector => unexpected(frame, vector),
    }
}

#[cold]
fn unexpected(frame: &TrapFrame, vector: Vector) -> ! {
    (handlers().fatal)(frame, Fatal::Vector(vector, esr::decode(frame.esr)))
}

/// Called by the vectors with interrupts masked, and returns so.
pub(super) fn dispatch(frame: &mut TrapFrame, vector: Vector) {
    let class = esr::decode(frame.esr);
    match vector {
        Vector::KERNEL_IRQ => (handlers().irq)(),
        Vector::KERNEL_SYNC => from_kernel(frame, class),
        _ => unexpected(frame, vector),
    }
}

/// The kernel takes no exception but those of its copies from and to user memory, and those of memory that it maps anew
/// while others use it. What comes before the handler of the latter uses the interrupted stack, statics of the image and
/// registers.
fn from_kernel(frame: &mut TrapFrame, class: Class) {
    match (&class, uaccess::fixup(frame.elr)) {
        (Class::DataAbort(abort), Some(fixup)) => {
            // Nothing in the kernel's half is the user's, whatever the page fault handler would say.
            let users = !VirtAddr::new(frame.far).is_kernel();
            if !users || user_copy(frame, abort) == Resolution::Unresolved {
                frame.elr = fixup;
            }
        }
        (Class::DataAbort(abort), None)
            if abort.far == Far::Valid && (handlers().kernel_data)(frame, abort) == Resolution::Retry => {}
        _ => (handlers().fatal)(frame, Fatal::Kernel(class)),
    }
}

/// The page fault handler may sleep, so it gets the interrupt mask of the copy.
fn user_copy(frame: &TrapFrame, abort: &Abort) -> Resolution {
    if frame.irqs_were_open() {
        Machine::unmask_irqs();
    }
    let resolution = (handlers().user_copy)(frame, abort);
    let _masked = Machine::mask_irqs();
    resolution
}

/// Called on the emergency stack.
pub(super) fn stack_overflow(frame: &TrapFrame) -> ! {
    (handlers().fatal)(frame, Fatal::StackOverflow)
}
