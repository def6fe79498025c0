//! A block gives way to a table that translates alike, on a CPU without FEAT_BBM.
//!
//! ```text
//!     KVA .. +2M -> A             block, live
//!     T: 512 pages -> A           equal in all but size
//!     store  KVA -> T             refused
//! ```
//! Without FEAT_BBM an access may get an amalgamation of block and page (R_FVQCK). R_WHZWS, third bullet.

use tests::lab::*;

/// Size alone is enough.
pub(crate) const SENTENCE: &str = concat!(
    "model: vCPU 0 stores 0x0000000040004003 over 0x0060000041000701 ",
    "at 0x0000000040003008, level 2, for 0xffff900000200000: break-before-make is needed: ",
    "block, table or contiguous size changes (R_WHZWS, third bullet)",
);

/// Splits without a break.
pub(crate) fn run(machine: MachineDesc) {
    on(with_bbm(machine, BbmLevel::Level0), |mut lab| {
        let slot = lab.map_block(KVA, A, RW);
        let pages = lab.pages(A, RW);
        Machine::write_desc(slot, Desc::table(pages));
    });
}
