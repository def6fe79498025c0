//! EL0's vector registers. The kernel has none of its own; EL0's first use in a turn traps, and only threads that
//! used them in their turn have them saved.
#![forbid(unsafe_code)]

use arch::Machine;
use arch::aarch64::fpsimd::{self, FpState};
use arch::contract::Cpu;

use super::table::TABLE;
use super::thread::Thread;

/// The running thread's program used a vector register while that was not permitted: loads its registers, or
/// zeros at the first use, and permits it for the rest of this turn.
pub fn fp_trap() {
    let irq = Machine::mask_irqs();
    if let Some(thread) = TABLE.lock().running_thread() {
        thread.fp.get_or_insert(FpState::ZERO).load();
        fpsimd::open_el0();
    }
    Machine::restore_irqs(irq);
}

/// The thread leaves its CPU: saves what it used in this turn.
pub(super) fn leave(thread: &mut Thread) {
    if fpsimd::is_open() {
        thread.fp.get_or_insert(FpState::ZERO).save();
        fpsimd::trap_el0();
    }
}
