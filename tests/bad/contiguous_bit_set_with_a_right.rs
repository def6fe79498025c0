//! A live page gets the contiguous bit and loses a right in one store, at FEAT_BBM level 1.
//!
//! ```text
//!     KVA -> A rw                 live
//!     store  KVA -> A r- C        refused
//! ```
//! From level 1 on the contiguous bit may change without a break (R_KHRBC), with nothing else beside it (R_PVTFW).

use tests::lab::*;

/// Two changes in one store.
pub(crate) const SENTENCE: &str = concat!(
    "model: vCPU 0 stores 0x0070000041000783 over 0x0060000041000703 ",
    "at 0x0000000040004000, level 3, for 0xffff900000200000: break-before-make is needed: ",
    "block, table or contiguous size changes (R_WHZWS, third bullet)",
);

/// Folds and tightens at once.
pub(crate) fn run(machine: MachineDesc) {
    on(with_bbm(machine, BbmLevel::Level1), |mut lab| {
        let slot = lab.map(KVA, A, RW);
        Machine::write_desc(slot, page(A, RO | CONTIGUOUS));
    });
}
