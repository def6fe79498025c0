//! A table gives way to a block at FEAT_BBM level 2, but one of its 512 pages lies elsewhere.
//!
//! ```text
//!     KVA -> T: 511 pages -> A, the last -> B     live
//!     store  KVA .. +2M -> A                      refused
//! ```
//! That is a change of the output address as well, and R_PVTFW relaxes the size alone.

use tests::lab::*;

/// All 512 must agree.
pub(crate) const SENTENCE: &str = concat!(
    "model: vCPU 0 stores 0x0060000041000701 over 0x0000000040004003 ",
    "at 0x0000000040003008, level 2, for 0xffff900000200000: break-before-make is needed: ",
    "block, table or contiguous size changes (R_WHZWS, third bullet)",
);

/// Promotes what is not contiguous.
pub(crate) fn run(machine: MachineDesc) {
    on(with_bbm(machine, BbmLevel::Level2), |mut lab| {
        let slot = lab.slot(KVA, Level::L2);
        let pages = lab.pages(A, RW);
        Machine::write_desc(pages.add(8 * 511), page(B, RW));
        make(slot, Desc::table(pages));
        Machine::write_desc(slot, block(A, RW));
    });
}
