//! The CPU half of the contract.

use super::Machine;
use super::bind::{current, swap_irq_mask};
use super::step::{Step, before};
use crate::contract::{Cpu, CpuId, IrqState};

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

    fn interleave() {
        current(|state, cpu| before(state, cpu, Step::Mark));
    }
}
