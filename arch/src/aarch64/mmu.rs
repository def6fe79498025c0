//! Translation: roots, barriers, and what the walker says.

use core::arch::asm;

use aarch64_cpu::registers::{PAR_EL1, Readable, TTBR0_EL1, TTBR1_EL1, Writeable};
use spin::Once;

use super::{Machine, boot, bulk, image, probe, tlb};
use crate::addr::{Asid, Level, PhysAddr, VirtAddr};
use crate::contract::{Access, Cpu, Dsb, FaultStatus, FlushScope, Mmu, PhysMem, Privilege, Tlbi};
use crate::features::Features;
use crate::layout::IMAGE_BASE;
use crate::pte::{HwDirty, Kind, PteFlags};
use crate::{esr, ttbr};

/// What the first CPU offers. A CPU that offers less is not started, so this is what all offer.
static FEATURES: Once<Features> = Once::new();

impl Machine {
    /// As [`Mmu::features`], in its place.
    #[inline(always)]
    pub(super) fn the_features() -> &'static Features {
        FEATURES.call_once(probe::probe)
    }
}

impl Mmu for Machine {
    #[inline(always)]
    fn features() -> Features {
        *Self::the_features()
    }

    /// TCR_EL1.HD is never set.
    fn hw_dirty() -> HwDirty {
        HwDirty::Disabled
    }

    fn kernel_root() -> PhysAddr {
        ttbr::root(TTBR1_EL1.get())
    }

    fn set_kernel_root(root: PhysAddr) {
        // SAFETY: the assembly in `boot`, with this signature.
        unsafe extern "C" {
            fn replace_kernel_root(root: u64, identity: u64, empty: u64, phys_minus_virt: u64);
        }
        let phys_minus_virt = image::loaded_at().raw().wrapping_sub(IMAGE_BASE.raw());
        let irqs = Self::mask_irqs();
        // SAFETY: the routine stands in `.idmap.text`, which the identity root maps, touches no memory while
        // TTBR1 is empty, and returns with TTBR0 as it was. That the new root maps what this CPU executes and
        // stands on is the caller's promise (contract).
        unsafe {
            replace_kernel_root(
                root.raw(),
                boot::identity_root().raw(),
                boot::empty_root().raw(),
                phys_minus_virt,
            );
        }
        Self::restore_irqs(irqs);
    }

    fn user_root() -> Option<(PhysAddr, Asid)> {
        let value = TTBR0_EL1.get();
        let root = ttbr::root(value);
        (root != boot::empty_root()).then(|| (root, ttbr::asid(value)))
    }

    fn set_user_root(root: Option<(PhysAddr, Asid)>) {
        let (table, asid) = root.unwrap_or((boot::empty_root(), Asid::NONE));
        TTBR0_EL1.set(ttbr::encode(table, asid));
        Self::isb();
    }

    #[inline(always)]
    fn tlbi(op: Tlbi, scope: FlushScope) {
        tlb::issue(op, scope);
    }

    #[inline(always)]
    fn dsb(barrier: Dsb) {
        // SAFETY: barriers; memory is clobbered, so the compiler moves no access across.
        unsafe {
            match barrier {
                Dsb::IshSt => asm!("dsb ishst", options(nostack, preserves_flags)),
                Dsb::Ish => asm!("dsb ish", options(nostack, preserves_flags)),
                Dsb::Nsh => asm!("dsb nsh", options(nostack, preserves_flags)),
            }
        }
    }

    fn isb() {
        // SAFETY: a barrier; memory is clobbered.
        unsafe { asm!("isb", options(nostack, preserves_flags)) };
    }

    #[inline(always)]
    fn kernel_access(va: VirtAddr, _access: Access) -> *mut u8 {
        core::ptr::with_exposed_provenance_mut(va.raw() as usize)
    }

    unsafe fn fill_lines(va: VirtAddr, lines: u64, words: [u64; 2]) {
        // SAFETY: 1. and 2. of the caller.
        unsafe { bulk::fill_lines(va.raw(), lines, words) };
    }

    /// AT has no form for instruction fetches: the walker says whether there is a translation, and the leaf
    /// whether it may be executed.
    fn translate(va: VirtAddr, access: Access, privilege: Privilege) -> Result<PhysAddr, FaultStatus> {
        let pa = address_translate(va, access, privilege)?;
        if access == Access::Execute {
            check_execute(va, privilege)?;
        }
        Ok(pa)
    }
}

macro_rules! at {
    ($operation:literal, $va:expr) => {
        // SAFETY: AT changes PAR_EL1 alone.
        unsafe { asm!(concat!("at ", $operation, ", {}"), "isb", in(reg) $va, options(nostack, preserves_flags)) }
    };
}

/// AT, then PAR_EL1.
fn address_translate(va: VirtAddr, access: Access, privilege: Privilege) -> Result<PhysAddr, FaultStatus> {
    let irqs = Machine::mask_irqs();
    match (privilege, access) {
        (Privilege::Kernel, Access::Read | Access::Execute) => at!("s1e1r", va.raw()),
        (Privilege::Kernel, Access::Write) => at!("s1e1w", va.raw()),
        (Privilege::User, Access::Read | Access::Execute) => at!("s1e0r", va.raw()),
        (Privilege::User, Access::Write) => at!("s1e0w", va.raw()),
    }
    let par = PAR_EL1.get();
    Machine::restore_irqs(irqs);
    esr::walk_result(par, va)
}

/// Whether the leaf that translates `va` lets `privilege` fetch: XN bits, WXN, and for EL1 nothing that EL0 may
/// write (D8.4.1.2).
fn check_execute(va: VirtAddr, privilege: Privilege) -> Result<(), FaultStatus> {
    let root = if va.is_kernel() { TTBR1_EL1.get() } else { TTBR0_EL1.get() };
    let mut table = ttbr::root(root);
    for level in Level::ALL {
        let desc = Machine::read_desc(table.add(va.index(level) as u64 * 8));
        match desc.kind(level) {
            Kind::Table => table = desc.output(level),
            Kind::Invalid => return Err(FaultStatus::Translation(level)),
            Kind::Block | Kind::Page => {
                let writable = !desc.flags(level).contains(PteFlags::READ_ONLY);
                let allowed = match privilege {
                    Privilege::Kernel => desc.kernel_exec(),
                    Privilege::User => desc.user_exec() && desc.flags(level).contains(PteFlags::USER),
                };
                return if allowed && !writable { Ok(()) } else { Err(FaultStatus::Permission(level)) };
            }
        }
    }
    Err(FaultStatus::Translation(Level::L3))
}
