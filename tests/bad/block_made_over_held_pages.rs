//! A table is broken, only its first page is flushed, and a block is made.
//!
//! ```text
//!     KVA -> T: 512 pages -> A    live
//!     store  KVA -> 0             broken
//!     DSB ISHST; TLBI VAAE1IS KVA; DSB ISH
//!     store  KVA .. +2M -> A      refused: 511 pages may still be held
//! ```
//! Break-before-make asks for a TLBI of all that the old descriptor led to (R_DDMVT).

use tests::lab::*;

/// The first page that remains.
pub(crate) const SENTENCE: &str = concat!(
    "model: vCPU 0 stores 0x0060000041000701 at 0x0000000040003008, level 2, for 0xffff900000200000 ",
    "while vCPU 0 may still hold 0x0060000041001703 of level 3: break-before-make is needed: ",
    "block, table or contiguous size changes (R_WHZWS, third bullet)",
);

/// Flushes one page where 512 were broken.
pub(crate) fn run(machine: MachineDesc) {
    on(with_bbm(machine, BbmLevel::Level0), |mut lab| {
        let slot = lab.slot(KVA, Level::L2);
        let pages = lab.pages(A, RW);
        make(slot, Desc::table(pages));
        Machine::write_desc(slot, Desc::INVALID);
        flush(KVA);
        Machine::write_desc(slot, block(A, RW));
    });
}
