//! From a vector to the kernel: each exception goes to one of the handlers that the kernel gave.

use spin::Once;

use super::vectors::{TrapFrame, Vector};
use super::{Machine, uaccess};
use crate::addr::VirtAddr;
use crate::contract::Cpu;
use crate::esr::{self, Abort, Class};

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
    /// A synchronous exception of EL0. Interrupts are open; a change of the frame takes effect at the return.
    pub user: fn(&mut TrapFrame, Class),
    /// A data abort of a copy from or to user memory. Interrupts are as the copy had them. One that is not
    /// resolved makes the copy return [`crate::UserFault`].
    pub user_copy: fn(&TrapFrame, &Abort) -> Resolution,
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

/// Called by the vectors with interrupts masked, and returns so.
pub(super) fn dispatch(frame: &mut TrapFrame, vector: Vector) {
    let class = esr::decode(frame.esr);
    match vector {
        Vector::USER_IRQ | Vector::KERNEL_IRQ => (handlers().irq)(),
        Vector::USER_SYNC => {
            Machine::unmask_irqs();
            (handlers().user)(frame, class);
            let _masked = Machine::mask_irqs();
        }
        Vector::KERNEL_SYNC => from_kernel(frame, class),
        _ => (handlers().fatal)(frame, Fatal::Vector(vector, class)),
    }
}

/// The kernel takes no exception but those of its copies from and to user memory.
fn from_kernel(frame: &mut TrapFrame, class: Class) {
    match (&class, uaccess::fixup(frame.elr)) {
        (Class::DataAbort(abort), Some(fixup)) => {
            // Nothing in the kernel's half is the user's, whatever the page fault handler would say.
            let users = !VirtAddr::new(frame.far).is_kernel();
            if !users || user_copy(frame, abort) == Resolution::Unresolved {
                frame.elr = fixup;
            }
        }
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
