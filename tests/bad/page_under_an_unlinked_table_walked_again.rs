//! A table is unlinked, the page is flushed as a leaf, and given back.
//!
//! ```text
//!     UVA -> T -> A               live
//!     store  UVA's table -> 0; DSB ISHST; TLBI VALE1IS UVA; DSB ISH
//!     free   A                    refused: a walk cache leads to T, and T to A
//! ```
//! The leaf has left the TLBs, and the next walk from the cached table brings it back (D8.14.5).

use tests::lab::*;

/// By which address.
pub(crate) const SENTENCE: &str = concat!(
    "model: vCPU 0 gives back 4096 bytes at 0x0000000041000000 ",
    "while vCPU 0 can walk to 0x0060000041000f43 of level 3 for 0x0000004000600000 (R_GPPYH)",
);

/// Last level only.
pub(crate) fn run(machine: MachineDesc) {
    on(machine, |mut lab| {
        lab.map(UVA, A, USER_RW);
        Machine::write_desc(lab.slot(UVA, Level::L2), Desc::INVALID);
        let (tag, depth, level) = (Tag::Asid(ASID), Depth::LeafOnly, Some(Level::L3));
        flush_by(Tlbi::Va { va: UVA, tag, depth, level }, FlushScope::Broadcast);
        Machine::released(A, PAGE_SIZE);
    });
}
