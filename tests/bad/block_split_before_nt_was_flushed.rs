//! A block gets nT and gives way to a table before nT has reached the TLBs.
//!
//! ```text
//!     KVA .. +2M -> A             block, live; FEAT_BBM level 1
//!     store  KVA -> A nT          block, nT
//!                                 (no flush)
//!     store  KVA -> T             refused: the block may still be held without nT
//! ```
//! R_MRRPW: what nT promises holds for entries that were walked with nT.

use tests::lab::*;

/// The stale block, by its descriptor.
pub(crate) const SENTENCE: &str = concat!(
    "model: vCPU 0 stores 0x0000000040004003 at 0x0000000040003008, level 2, for 0xffff900000200000 ",
    "while vCPU 0 may still hold 0x0060000041000701 of level 2: break-before-make is needed: ",
    "block, table or contiguous size changes (R_WHZWS, third bullet)",
);

/// Forgets the flush between the two steps.
pub(crate) fn run(machine: MachineDesc) {
    on(with_bbm(machine, BbmLevel::Level1), |mut lab| {
        let slot = lab.map_block(KVA, A, RW);
        make(slot, block(A, RW | PteFlags::NT));
        let pages = lab.pages(A, RW);
        Machine::write_desc(slot, Desc::table(pages));
    });
}
