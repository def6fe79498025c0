//! The CPU that runs this.

use core::arch::asm;

use aarch64_cpu::registers::{CNTKCTL_EL1, CPACR_EL1, DAIF, Readable, TPIDR_EL1, Writeable};

use super::Machine;
use super::fpsimd;
use super::percpu::CpuBlock;
use crate::contract::{Cpu, CpuId, IrqState, LockStep, Mmu};
use crate::{Dsb, FlushScope, Tlbi};

/// CNTKCTL_EL1.EL0VCTEN: EL0 may read the virtual counter, as under Linux.
const EL0_MAY_READ_COUNTER: u64 = 1 << 1;

/// What each CPU sets for itself beside translation. Leaves the identity map.
pub(super) fn init_this_cpu() {
    Machine::set_user_root(None);
    Machine::tlbi(Tlbi::All, FlushScope::Local);
    Machine::dsb(Dsb::Nsh);
    Machine::isb();
    CNTKCTL_EL1.set(EL0_MAY_READ_COUNTER);
    CPACR_EL1.set(0);
    fpsimd::trap_el0();
    if Machine::features().pan {
        // SAFETY: sets PSTATE.PAN, which the probe found; the kernel reaches user memory by LDTR and STTR
        // alone, which PAN does not stop.
        unsafe { asm!(".arch_extension pan", "msr pan, #1", options(nomem, nostack, preserves_flags)) };
    }
}

impl Cpu for Machine {
    #[inline(always)]
    fn id() -> CpuId {
        let block = core::ptr::with_exposed_provenance::<CpuBlock>(TPIDR_EL1.get() as usize);
        // SAFETY: from the first Rust instruction on, TPIDR_EL1 of each CPU points to an element of
        // `percpu::BLOCKS`, whose first word is its number and never written.
        let id = unsafe { block.cast::<u64>().read() };
        CpuId::new(id as usize)
    }

    #[inline(always)]
    fn mask_irqs() -> IrqState {
        let state = IrqState::new(DAIF.get());
        // SAFETY: masks interrupts on this CPU. Memory is clobbered, so nothing moves out of the section.
        unsafe { asm!("msr daifset, #2", options(nostack, preserves_flags)) };
        state
    }

    #[inline(always)]
    fn restore_irqs(state: IrqState) {
        // SAFETY: puts back a mask that was in force on a CPU of this kernel. Memory is clobbered.
        unsafe { asm!("msr daif, {}", in(reg) state.raw(), options(nostack, preserves_flags)) };
    }

    #[inline(always)]
    fn relax() {
        // SAFETY: a hint. Where QEMU runs all CPUs in turn (-icount) it ends this one's turn, which `spin_loop`'s ISB
        // would not: a CPU that spins with interrupts masked would else keep the others from what it waits for.
        unsafe { asm!("yield", options(nomem, nostack, preserves_flags)) };
    }

    #[inline(always)]
    fn interleave() {}

    #[inline(always)]
    fn at_lock(_: LockStep, _: u8) {}
}

impl Machine {
    /// Lets interrupts in on this CPU.
    #[inline(always)]
    pub fn unmask_irqs() {
        // SAFETY: unmasks interrupts; the vectors are installed before anybody calls this. Memory is clobbered.
        unsafe { asm!("msr daifclr, #2", options(nostack, preserves_flags)) };
    }

    /// Waits until an interrupt is pending, masked or not.
    pub fn wait_for_interrupt() {
        // SAFETY: waits; the DSB completes what the CPU has stored before it sleeps.
        unsafe { asm!("dsb sy", "wfi", options(nostack, preserves_flags)) };
    }

    /// Whether PSTATE.PAN is set on this CPU. Only where [`crate::Features::pan`] says that there is PAN.
    #[must_use]
    pub fn pan_is_on() -> bool {
        let pan: u64;
        // SAFETY: reads a register, which exists where there is FEAT_PAN.
        unsafe {
            asm!(".arch_extension pan", "mrs {}, pan", out(reg) pan, options(nomem, nostack, preserves_flags))
        };
        pan >> 22 & 1 != 0
    }

    /// Stops this CPU for ever.
    pub fn halt() -> ! {
        let _masked = Self::mask_irqs();
        loop {
            Self::wait_for_interrupt();
        }
    }

    /// The frame pointer (x29): where the caller's frame record stands.
    #[inline(always)]
    #[must_use]
    pub fn frame_pointer() -> usize {
        let fp;
        // SAFETY: reads a register.
        unsafe { asm!("mov {}, x29", out(reg) fp, options(nomem, nostack, preserves_flags)) };
        fp
    }
}
