//! A writable block gives way to a table of read-only pages at FEAT_BBM level 2.
//!
//! ```text
//!     KVA .. +2M -> A rw          block, live
//!     T: 512 pages -> A r-
//!     store  KVA -> T             refused: size *and* rights
//! ```
//! FEAT_BBM relaxes a change of size with nothing else changed (R_PVTFW). Split first, then tighten.

use tests::lab::*;

/// The third bullet is back.
pub(crate) const SENTENCE: &str = concat!(
    "model: vCPU 0 stores 0x0000000040004003 over 0x0060000041000701 ",
    "at 0x0000000040003008, level 2, for 0xffff900000200000: break-before-make is needed: ",
    "block, table or contiguous size changes (R_WHZWS, third bullet)",
);

/// Splits and tightens in one store.
pub(crate) fn run(machine: MachineDesc) {
    on(with_bbm(machine, BbmLevel::Level2), |mut lab| {
        let slot = lab.map_block(KVA, A, RW);
        let pages = lab.pages(A, RO);
        Machine::write_desc(slot, Desc::table(pages));
    });
}
