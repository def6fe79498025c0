//! The kernel uses a block while it has nT, at FEAT_BBM level 1.
//!
//! ```text
//!     KVA .. +2M -> A nT          block, live
//!     read   KVA                  may fault, although it is mapped
//! ```
//! With nT = 1 an access may take a translation fault (R_MRRPW): what the kernel cannot do without has no nT.

use tests::lab::*;

/// The descriptor is valid and the access faults.
pub(crate) const SENTENCE: &str = concat!(
    "model: kernel read from 0xffff900000200000 on vCPU 0: ",
    "translation fault, level 2 (entry 0x0060000041010701 in memory)",
);

/// Reads through it.
pub(crate) fn run(machine: MachineDesc) {
    on(with_bbm(machine, BbmLevel::Level1), |mut lab| {
        lab.map_block(KVA, A, RW | PteFlags::NT);
        Machine::kernel_access(KVA, Access::Read);
    });
}
