//! A table of 512 pages gives way to the block that translates alike, without FEAT_BBM.
//!
//! ```text
//!     KVA -> T: 512 pages -> A    live
//!     store  KVA .. +2M -> A      refused
//! ```
//! The way back is no better than the way there: R_WHZWS, third bullet, "in either direction".

use tests::lab::*;

/// The table descriptor under a block descriptor.
pub(crate) const SENTENCE: &str = concat!(
    "model: vCPU 0 stores 0x0060000041000701 over 0x0000000040004003 ",
    "at 0x0000000040003008, level 2, for 0xffff900000200000: break-before-make is needed: ",
    "block, table or contiguous size changes (R_WHZWS, third bullet)",
);

/// Promotes without a break.
pub(crate) fn run(machine: MachineDesc) {
    on(with_bbm(machine, BbmLevel::Level0), |mut lab| {
        let slot = lab.slot(KVA, Level::L2);
        let pages = lab.pages(A, RW);
        make(slot, Desc::table(pages));
        Machine::write_desc(slot, block(A, RW));
    });
}
