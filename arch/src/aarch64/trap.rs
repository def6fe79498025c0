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
    /// The kernel stack that `far` or the stack pointer left ran over.
    StackOverflow,
    /// A vector that nothing should take: FIQ, SError, SP_EL0 at EL1, AArch32.
    Vector(Vector, Class),
}

/// The kernel's handlers. They are called on the stack of the thread that was interrupted.
#[derive(Debug)]
pub struct Handlers {
    /// A synchronous exception of EL0. Interrupts are open; a change of the frame takes effect at the return.
    pub user: fn(&mut TrapFrame, Class),
    /// A data abort of a copy from or to user memory, at this address. Interrupts are as the copy had them. An
    /// unresolved fault makes the copy return [`crate::UserFault`].
    pub user_copy: fn(VirtAddr, &Abort) -> Resolution,
    /// Any other abort of EL1, interrupts masked: data or instruction, at this address.
    pub kernel: fn(VirtAddr, &Abort) -> Resolution,
    /// An interrupt. Masked; the handler may switch threads.
    pub irq: fn(),
    /// The end.
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

fn from_kernel(frame: &mut TrapFrame, class: Class) {
    let far = VirtAddr::new(frame.far);
    let resolution = match (&class, uaccess::fixup(frame.elr)) {
        (Class::DataAbort(abort), Some(fixup)) if far.is_user() => {
            if user_copy(frame, far, abort) == Resolution::Unresolved {
                frame.elr = fixup;
            }
            Resolution::Retry
        }
        (Class::DataAbort(abort) | Class::InstructionAbort(abort), _) => (handlers().kernel)(far, abort),
        _ => Resolution::Unresolved,
    };
    if resolution == Resolution::Unresolved {
        (handlers().fatal)(frame, Fatal::Kernel(class));
    }
}

/// The page fault handler may sleep, so it gets the interrupt mask of the copy.
fn user_copy(frame: &TrapFrame, far: VirtAddr, abort: &Abort) -> Resolution {
    if frame.irqs_were_open() {
        Machine::unmask_irqs();
    }
    let resolution = (handlers().user_copy)(far, abort);
    let _masked = Machine::mask_irqs();
    resolution
}

/// Called on the emergency stack.
pub(super) fn stack_overflow(frame: &TrapFrame, _vector: Vector) -> ! {
    (handlers().fatal)(frame, Fatal::StackOverflow)
}
