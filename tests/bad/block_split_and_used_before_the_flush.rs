//! A block is split at FEAT_BBM level 2, and the kernel uses it before the flush.
//!
//! ```text
//!     KVA .. +2M -> A             block, live
//!     store  KVA -> T             512 equal pages: allowed at level 2
//!                                 (no flush)
//!     read   KVA                  block and page may both match: conflict abort
//! ```
//! Level 2 has no amalgamation, but a TLB conflict abort until the TLBI has completed (I_HYQMB). A kernel that takes
//! it where it cannot handle it is lost.

use tests::lab::*;

/// The fault, and what of the two is held.
pub(crate) const SENTENCE: &str = concat!(
    "model: kernel read from 0xffff900000200000 on vCPU 0: ",
    "TLB conflict abort (entry 0x0060000041000701 held in the TLB)",
);

/// Uses the region that is being split.
pub(crate) fn run(machine: MachineDesc) {
    on(with_bbm(machine, BbmLevel::Level2), |mut lab| {
        let slot = lab.map_block(KVA, A, RW);
        let pages = lab.pages(A, RW);
        make(slot, Desc::table(pages));
        Machine::kernel_access(KVA, Access::Read);
    });
}
