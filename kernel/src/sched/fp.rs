//! EL0's vector registers. The kernel has none of its own; EL0's first use in a turn traps, and only threads that
//! used them in their turn have them saved.
#![forbid(unsafe_code)]

use allocator_api2::boxed::Box;
use arch::Machine;
use arch::aarch64::fpsimd::{self, FpState};
use arch::contract::Cpu;
use mm::error::OutOfMemory;
use mm::kalloc::KAlloc;

use super::table::TABLE;
use super::thread::{FpBox, Thread};

/// The running thread's program used a vector register while that was not permitted: loads its registers, or
/// zeros at the first use, and permits it for the rest of this turn.
///
/// # Errors
/// [`OutOfMemory`] at the first use.
pub fn fp_trap() -> Result<(), OutOfMemory> {
    let first_use = TABLE.lock().running_thread().is_some_and(|thread| thread.fp.is_none());
    let zeros = if first_use { Some(boxed(FpState::ZERO)?) } else { None };
    let irq = Machine::mask_irqs();
    if let Some(thread) = TABLE.lock().running_thread() {
        if zeros.is_some() {
            thread.fp = zeros;
        }
        if let Some(state) = &thread.fp {
            state.load();
            fpsimd::open_el0();
        }
    }
    Machine::restore_irqs(irq);
    Ok(())
}

/// A copy of the vector registers of the running thread's program, where it has used them.
///
/// # Errors
/// [`OutOfMemory`].
pub fn fp_copy() -> Result<Option<FpBox>, OutOfMemory> {
    if TABLE.lock().running_thread().is_none_or(|thread| thread.fp.is_none()) {
        return Ok(None);
    }
    let mut copy = boxed(FpState::ZERO)?;
    let irq = Machine::mask_irqs();
    if fpsimd::is_open() {
        copy.save();
    } else if let Some(state) = TABLE.lock().running_thread().and_then(|thread| thread.fp.as_deref()) {
        (*copy).clone_from(state);
    }
    Machine::restore_irqs(irq);
    Ok(Some(copy))
}

fn boxed(state: FpState) -> Result<FpBox, OutOfMemory> {
    Box::try_new_in(state, KAlloc).map_err(|_| OutOfMemory)
}

/// The thread leaves its CPU: saves what it used in this turn. A thread for which they are open has a place for them.
pub(super) fn leave(thread: &mut Thread) {
    if fpsimd::is_open() {
        if let Some(state) = &mut thread.fp {
            state.save();
        }
        fpsimd::trap_el0();
    }
}
