//! The machine: aarch64 at EL1, one stage of translation, GICv3, the virtual timer, PSCI.
//!
//! | file | what it holds |
//! |---|---|
//! | [`boot`] | image header, entry of the first and of every further CPU, early tables, MMU on |
//! | `el2` | the way from EL2 down to EL1 |
//! | [`image`] | where the parts of the image stand |
//! | [`vectors`] | the sixteen vectors, the trap frame, stack overflow |
//! | [`trap`] | from a vector to the kernel's handlers |
//! | [`context`] | switching stacks, entering EL0 |
//! | [`fpsimd`] `bulk` | the FP and SIMD registers of EL0; pages zeroed and copied by four of them |
//! | [`tls`] | EL0's thread pointer |
//! | [`percpu`] | the block of each CPU, kernel stacks |
//! | `phys` `mmu` `cpu` `uaccess` `probe` | the contract |
//! | [`tlb`] | every TLBI instruction |
//! | `string` | memcpy and memset |
//! | [`gic`] [`timer`] [`psci`] [`semihost`] | devices and firmware |
//!
//! `unsafe` stands where the machine itself is touched: instructions, registers, linker symbols, memory by
//! address.

pub mod boot;
mod bulk;
pub mod context;
mod cpu;
mod el2;
pub mod fpsimd;
pub mod gic;
pub mod image;
mod mmu;
pub mod percpu;
mod phys;
mod probe;
pub mod psci;
pub mod semihost;
mod string;
pub mod timer;
pub mod tlb;
pub mod tls;
pub mod trap;
mod uaccess;
pub mod vectors;

pub use probe::probe;

/// The backend of the contract that runs on aarch64.
#[derive(Clone, Copy, Debug)]
pub struct Machine;
