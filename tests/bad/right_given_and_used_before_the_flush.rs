//! A kernel page is made writable and written before the flush.
//!
//! ```text
//!     KVA -> A r-                 live
//!     store  KVA -> A rw; DSB ISHST; ISB
//!     write  KVA                  may fault by the old entry
//! ```
//! A permission that is widened harms nobody, but until the TLBI has completed it may not be there (R_GPPYH). The user
//! faults and tries again; the kernel cannot.

use tests::lab::*;

/// What is held.
pub(crate) const SENTENCE: &str = concat!(
    "model: kernel write to 0xffff900000200000 on vCPU 0: ",
    "permission fault, level 3 (entry 0x0060000041000783 held in the TLB)",
);

/// Relaxes without a flush.
pub(crate) fn run(machine: MachineDesc) {
    on(machine, |mut lab| {
        let slot = lab.map(KVA, A, RO);
        make(slot, page(A, RW));
        Machine::kernel_access(KVA, Access::Write);
    });
}
