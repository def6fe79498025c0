//! GICv3: the distributor once, a redistributor and the CPU interface on each CPU.
//!
//! Every interrupt is non-secure group 1 and level triggered with one priority, so none interrupts another. Interrupts
//! that a device sends (SPIs) all go to the CPU that boots. CPUs wake each other by software generated
//! interrupts (SGIs), which need no memory access.

use core::fmt;
use core::ptr::NonNull;

use aarch64_cpu::registers::{MPIDR_EL1, Readable};
use arm_gic::gicv3::registers::{Gicd, GicrSgi};
use arm_gic::gicv3::{GicCpuInterface, GicError, GicV3, SgiTarget, SgiTargetGroup};
use arm_gic::{IntId, InterruptGroup, Trigger, UniqueMmioPointer};

use crate::addr::VirtAddr;
use crate::sync::{Rank, SpinLock};

/// Affinity fields of MPIDR_EL1: Aff3 and Aff2..Aff0.
const AFFINITY: u64 = 0xff_00ff_ffff;
/// Bytes from one redistributor to the next: RD and SGI frames of 64 KiB (GICv3 has no VLPI frames).
const REDISTRIBUTOR_BYTES: u64 = 2 << 16;

/// The driver. The lock's rank is above all that the kernel holds when it sets an interrupt up.
static GIC: SpinLock<Option<GicV3<'static>>> = SpinLock::new(Rank(88), None);

/// Why the interrupt controller cannot be used.
#[derive(Clone, Copy, Debug)]
pub enum Error {
    /// Its registers are at address zero.
    Address,
    /// No redistributor has this CPU's affinity.
    NoRedistributor(u64),
    /// [`init`] has not been called.
    NotReady,
    /// The driver refused.
    Driver(GicError),
}

impl From<GicError> for Error {
    fn from(error: GicError) -> Self {
        Error::Driver(error)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Address => write!(f, "its registers are at address zero"),
            Error::NoRedistributor(affinity) => write!(f, "no redistributor for the CPU {affinity:#x}"),
            Error::NotReady => write!(f, "it is not initialised"),
            Error::Driver(error) => write!(f, "{error}"),
        }
    }
}

/// A kind of interrupt, as a device tree numbers them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Interrupt(IntId);

impl Interrupt {
    /// The interrupt by which CPUs send each other message `number` (0..=15).
    #[must_use]
    pub const fn sgi(number: u8) -> Self {
        Interrupt(IntId::sgi(number as u32))
    }

    /// The interrupt of a device tree's specifier for a GIC: type (0 SPI, 1 PPI) and number; `None` for
    /// anything else.
    #[must_use]
    pub const fn from_specifier(kind: u32, number: u32) -> Option<Self> {
        match (kind, number) {
            (0, 0..=987) => Some(Interrupt(IntId::spi(number))),
            (1, 0..=15) => Some(Interrupt(IntId::ppi(number))),
            _ => None,
        }
    }
}

impl fmt::Display for Interrupt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

/// Sets the distributor up. `redistributors_bytes` is the length of the region of redistributors.
///
/// # Safety
/// Both addresses are those of the controller's registers, mapped as device memory for ever, and nobody else
/// uses them.
///
/// # Errors
/// [`Error::Address`], [`Error::Driver`].
pub unsafe fn init(
    distributor: VirtAddr,
    redistributors: VirtAddr,
    redistributors_bytes: u64,
) -> Result<(), Error> {
    let pointer = |va: VirtAddr| core::ptr::with_exposed_provenance_mut::<u8>(va.raw() as usize);
    let gicd = NonNull::new(pointer(distributor).cast::<Gicd>()).ok_or(Error::Address)?;
    let gicr = NonNull::new(pointer(redistributors).cast::<GicrSgi>()).ok_or(Error::Address)?;
    let count = (redistributors_bytes / REDISTRIBUTOR_BYTES) as usize;
    // SAFETY: registers that are mapped and ours alone (caller's promise); the region holds `count`
    // redistributors.
    let mut gic = unsafe { GicV3::new(UniqueMmioPointer::new(gicd), gicr, count)? };
    gic.distributor().configure_default_settings();
    *GIC.lock() = Some(gic);
    Ok(())
}

/// Sets this CPU's redistributor and interface up and lets `private` interrupts (SGIs, PPIs) in.
///
/// # Errors
/// [`Error`].
pub fn init_this_cpu(private: &[Interrupt]) -> Result<(), Error> {
    let affinity = MPIDR_EL1.get() & AFFINITY;
    let mut guard = GIC.lock();
    let gic = guard.as_mut().ok_or(Error::NotReady)?;
    let index = redistributor_of(gic, affinity)?;
    gic.init_cpu(index);
    let mut redistributor = gic.redistributor(index)?;
    redistributor.configure_default_settings();
    for interrupt in private {
        redistributor.enable_interrupt(interrupt.0, true)?;
    }
    GicCpuInterface::set_priority_mask(0xff);
    GicCpuInterface::enable_group1(true);
    Ok(())
}

/// The index of the redistributor whose GICR_TYPER names `affinity`.
fn redistributor_of(gic: &mut GicV3<'static>, affinity: u64) -> Result<usize, Error> {
    for index in 0.. {
        let Ok(typer) = gic.gicr_typer(index) else { break };
        if typer.core_mpidr() & AFFINITY == affinity {
            return Ok(index);
        }
        if typer.last_redistributor() {
            break;
        }
    }
    Err(Error::NoRedistributor(affinity))
}

/// Lets a device's interrupt in, on this CPU.
///
/// # Errors
/// [`Error`].
pub fn enable_device(interrupt: Interrupt) -> Result<(), Error> {
    let mut guard = GIC.lock();
    let distributor = guard.as_mut().ok_or(Error::NotReady)?.distributor();
    distributor.set_trigger(interrupt.0, Trigger::Level)?;
    distributor.set_routing(interrupt.0, Some(MPIDR_EL1.get() & AFFINITY))?;
    distributor.enable_interrupt(interrupt.0, true)?;
    Ok(())
}

/// Acknowledges the pending interrupt of highest priority, if there is one.
#[must_use]
pub fn acknowledge() -> Option<Interrupt> {
    GicCpuInterface::get_and_acknowledge_interrupt(InterruptGroup::Group1).map(Interrupt)
}

/// Ends an interrupt that [`acknowledge`] gave.
pub fn end(interrupt: Interrupt) {
    GicCpuInterface::end_interrupt(interrupt.0, InterruptGroup::Group1);
}

/// The affinity of a CPU, as the device tree's `reg` and PSCI name it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Affinity(u64);

impl Affinity {
    /// The affinity with these fields of MPIDR_EL1.
    #[must_use]
    pub const fn new(mpidr: u64) -> Self {
        Affinity(mpidr & AFFINITY)
    }
    /// The affinity of this CPU.
    #[must_use]
    pub fn this_cpu() -> Self {
        Self::new(MPIDR_EL1.get())
    }
    /// The fields.
    #[must_use]
    pub const fn raw(self) -> u64 {
        self.0
    }
}

/// Sends `interrupt` (an SGI) to one CPU. Stores made before are visible to its handler.
pub fn send(interrupt: Interrupt, to: Affinity) {
    let [aff0, affinity1, affinity2, _, affinity3, ..] = to.0.to_le_bytes();
    let target = SgiTarget::List { affinity3, affinity2, affinity1, target_list: 1 << (aff0 & 15) };
    // SAFETY: a barrier: the store that the message is about comes before the message.
    unsafe { core::arch::asm!("dsb ishst", options(nostack, preserves_flags)) };
    let sent = GicCpuInterface::send_sgi(interrupt.0, target, SgiTargetGroup::CurrentGroup1);
    debug_assert!(sent.is_ok(), "{interrupt} is no SGI");
}

/// Sends `interrupt` (an SGI) to every other CPU.
pub fn send_to_all_others(interrupt: Interrupt) {
    // SAFETY: as above.
    unsafe { core::arch::asm!("dsb ishst", options(nostack, preserves_flags)) };
    let sent = GicCpuInterface::send_sgi(interrupt.0, SgiTarget::All, SgiTargetGroup::CurrentGroup1);
    debug_assert!(sent.is_ok(), "{interrupt} is no SGI");
}
