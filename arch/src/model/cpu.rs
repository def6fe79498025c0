//! The CPU half of the contract.

use super::Machine;
use super::bind::current;
use super::sched::swap_irq_mask;
use super::step::{Step, before};
use crate::contract::{Cpu, CpuId, IrqState, LockStep};

impl Cpu for Machine {
    fn id() -> CpuId {
        current(|_, cpu| cpu)
    }

    fn mask_irqs() -> IrqState {
        IrqState::new(swap_irq_mask(true).into())
    }

    fn restore_irqs(state: IrqState) {
        swap_irq_mask(state.raw() != 0);
    }

    fn relax() {
        current(|state, cpu| before(state, cpu, Step::Relax));
    }

    #[track_caller]
    fn interleave() {
        current(|state, cpu| before(state, cpu, Step::Mark));
    }

    #[track_caller]
    fn at_lock(step: LockStep, rank: u8) {
        current(|state, cpu| before(state, cpu, Step::Lock(step, rank)));
    }
}
