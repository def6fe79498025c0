//! A block without nT gives way to an equal table at FEAT_BBM level 1.
//!
//! ```text
//!     KVA .. +2M -> A             block without nT, live
//!     T: 512 pages -> A
//!     store  KVA -> T             refused
//! ```
//! Level 1 relaxes the third bullet of R_WHZWS only for a block that has nT, and is held with nT (R_MRRPW).

use tests::lab::*;

/// Size alone is enough.
pub(crate) const SENTENCE: &str = concat!(
    "model: vCPU 0 stores 0x0000000040004003 over 0x0060000041000701 ",
    "at 0x0000000040003008, level 2, for 0xffff900000200000: break-before-make is needed: ",
    "block, table or contiguous size changes (R_WHZWS, third bullet)",
);

/// Splits without nT.
pub(crate) fn run(machine: MachineDesc) {
    on(with_bbm(machine, BbmLevel::Level1), |mut lab| {
        let slot = lab.map_block(KVA, A, RW);
        let pages = lab.pages(A, RW);
        Machine::write_desc(slot, Desc::table(pages));
    });
}
