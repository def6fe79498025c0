//! A table of pages is unlinked and flushed with the hint that a block stood in its place.
//!
//! ```text
//!     KVA -> T -> A               T stands in level 2, its leaves in level 3
//!     store  KVA -> 0; DSB ISHST; TLBI VAAE1IS KVA, TTL = level 2; DSB ISH
//!     free   T                    refused: a walk cache may still lead there
//! ```
//! The hint is the level of the leaf, and no table stands above a leaf of that level (FEAT_TTL, D8.14.5).

use tests::lab::*;

/// Who can still walk what is given back.
pub(crate) const SENTENCE: &str = concat!(
    "model: vCPU 0 gives back 0x0000000040004000, a table of level 3 for 0xffff900000200000 that vCPU 0 can ",
    "still walk",
);

/// The level of the entry that changed, not of the leaf.
pub(crate) fn run(machine: MachineDesc) {
    on(machine, |mut lab| {
        let leaf = lab.map(KVA, A, RW);
        Machine::write_desc(lab.slot(KVA, Level::L2), Desc::INVALID);
        let (tag, depth, level) = (Tag::AllAsids, Depth::AllLevels, Some(Level::L2));
        flush_by(Tlbi::Va { va: KVA, tag, depth, level }, FlushScope::Broadcast);
        Machine::released(leaf.align_down(PAGE_SIZE), PAGE_SIZE);
    });
}
