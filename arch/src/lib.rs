//! What the machine promises.
//!
//! The crate states, in one place each, the facts about an Armv8-A machine on which a memory
//! manager rests: addresses ([`addr`]), stage-1 descriptors ([`pte`]), when a live descriptor must be
//! broken before it is made ([`bbm`]), what a CPU offers ([`features`]) and the interface through which
//! all of that is used ([`contract`]). Two backends keep the contract: `aarch64` on the machine, and
//! `model` on a host, where translation, TLBs and barriers are data structures that a test can look at.
//!
//! | room | what it holds |
//! |---|---|
//! | [`addr`] | physical and virtual addresses, frame numbers, orders, levels: a type per unit |
//! | [`pte`] | VMSAv8-64 stage-1 descriptors, 4K granule; pure |
//! | [`bbm`] | when break-before-make is required; pure |
//! | [`contiguous`] | what 16 descriptors with the contiguous bit must be; pure |
//! | [`features`] | what the CPU offers, probed or injected |
//! | [`layout`] | the kernel's half of the virtual address space |
//! | [`contract`] | the interface of both backends |
//! | [`conformance`] | checks of the contract that run on both |
//! | [`esr`] | what an exception syndrome says; pure |
//! | [`tlbi_plan`] [`tlbi_operand`] | which TLBI instructions an invalidation takes, and their operands; pure |
//! | [`ttbr`] | the translation table base registers; pure |
//! | [`sync`] | locks whose order is checked |
//! | `aarch64` / `model` | the machine, and its model |
#![cfg_attr(target_os = "none", no_std)]
#![forbid(unstable_features)]

pub mod addr;
pub mod bbm;
pub mod conformance;
pub mod contiguous;
pub mod contract;
pub mod esr;
pub mod features;
pub mod layout;
pub mod pte;
pub mod sync;
pub mod tlbi_operand;
pub mod tlbi_plan;
pub mod ttbr;

#[cfg(target_os = "none")]
pub mod aarch64;
#[cfg(target_os = "none")]
pub use aarch64::Machine;

#[cfg(not(target_os = "none"))]
pub mod model;
#[cfg(not(target_os = "none"))]
pub use model::Machine;

pub use addr::{Asid, Level, Order, PageSize, Pfn, PhysAddr, VirtAddr};
pub use contract::{Access, Cpu, CpuId, DescTable, Dsb, FlushScope, Mmu, PhysMem, Tlbi, UserFault, UserMem};
pub use features::Features;
pub use pte::Desc;

/// The one door to memory that is reached through the kernel's own page tables; see
/// [`Mmu::kernel_access`].
#[inline(always)]
#[must_use]
#[cfg_attr(not(target_os = "none"), track_caller)]
pub fn kernel_access(va: VirtAddr, access: Access) -> *mut u8 {
    Machine::kernel_access(va, access)
}

/// Whether a panic unwinds this CPU's stack, so that what is dropped cannot be as it should. Never on the machine,
/// where a panic does not unwind.
#[inline(always)]
#[must_use]
pub fn unwinding() -> bool {
    #[cfg(not(target_os = "none"))]
    return std::thread::panicking();
    #[cfg(target_os = "none")]
    return false;
}

const fn satisfies_contract<M: PhysMem + Mmu + Cpu + UserMem>() {}
const _: () = satisfies_contract::<Machine>();
