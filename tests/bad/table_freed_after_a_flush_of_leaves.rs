//! A table is unlinked, last-level entries are flushed, and the table is given back.
//!
//! ```text
//!     UVA -> T -> A               live, ASID 1
//!     store  UVA -> 0; DSB ISHST; TLBI VALE1IS UVA, ASID 1; DSB ISH
//!     free   T                    refused: T may still be in a walk cache
//! ```
//! Last-level TLBIs are for leaves (D8.14.5); whoever frees tables flushes all levels.

use tests::lab::*;

/// Who can still walk what is given back.
pub(crate) const SENTENCE: &str = concat!(
    "model: vCPU 0 gives back 0x0000000040004000, a table of level 3 for 0x0000004000600000 that vCPU 0 can ",
    "still walk",
);

/// The flush of munmap without the one of free_pgtables.
pub(crate) fn run(machine: MachineDesc) {
    on(machine, |mut lab| {
        let leaf = lab.map(UVA, A, USER_RW);
        Machine::write_desc(lab.slot(UVA, Level::L2), Desc::INVALID);
        let (tag, depth, level) = (Tag::Asid(ASID), Depth::LeafOnly, Some(Level::L3));
        flush_by(Tlbi::Va { va: UVA, tag, depth, level }, FlushScope::Broadcast);
        Machine::released(leaf.align_down(PAGE_SIZE), PAGE_SIZE);
    });
}
