//! A table of the kernel's half is unlinked and flushed for one ASID.
//!
//! ```text
//!     KVA -> T -> A               live
//!     store  KVA -> 0; DSB ISHST; TLBI VAE1IS KVA, ASID 1; DSB ISH
//!     free   T                    refused: held under other ASIDs
//! ```
//! Table entries have no nG; a walk cache may keep them once for each ASID. Kernel addresses are flushed for all
//! (VAAE1, D8.14.5).

use tests::lab::*;

/// Who can still walk what is given back.
pub(crate) const SENTENCE: &str = concat!(
    "model: vCPU 0 gives back 0x0000000040004000, a table of level 3 for 0xffff900000200000 that vCPU 0 can ",
    "still walk",
);

/// The ASID that happened to run.
pub(crate) fn run(machine: MachineDesc) {
    on(machine, |mut lab| {
        let leaf = lab.map(KVA, A, RW);
        Machine::write_desc(lab.slot(KVA, Level::L2), Desc::INVALID);
        let (tag, depth, level) = (Tag::Asid(ASID), Depth::AllLevels, None);
        flush_by(Tlbi::Va { va: KVA, tag, depth, level }, FlushScope::Broadcast);
        Machine::released(leaf.align_down(PAGE_SIZE), PAGE_SIZE);
    });
}
