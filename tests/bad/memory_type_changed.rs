//! Normal memory becomes device memory in one store.
//!
//! ```text
//!     KVA -> A rw normal          live
//!     store  KVA -> A rw device   refused
//! ```
//! Two types for one location at once lose coherency and ordering (B2.10). R_WHZWS, first bullet.

use tests::lab::*;

/// The address stays the same.
pub(crate) const SENTENCE: &str = concat!(
    "model: vCPU 0 stores 0x0060000041000707 over 0x0060000041000703 ",
    "at 0x0000000040004000, level 3, for 0xffff900000200000: break-before-make is needed: ",
    "memory type or shareability changes (R_WHZWS, first bullet)",
);

/// Changes AttrIndx and nothing else.
pub(crate) fn run(machine: MachineDesc) {
    on(machine, |mut lab| {
        let slot = lab.map(KVA, A, RW);
        Machine::write_desc(slot, page(A, RW | PteFlags::DEVICE));
    });
}
