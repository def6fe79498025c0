//! A page is flushed with the hint that the leaf is a block.
//!
//! ```text
//!     KVA -> A                    page: level 3, live
//!     store  KVA -> 0; DSB ISHST; TLBI VAAE1IS KVA, TTL = level 2; DSB ISH
//!     store  KVA -> B             refused
//! ```
//! With a wrong hint a TLBI need not remove anything (FEAT_TTL, D8.14.5).

use tests::lab::*;

/// What the hint has saved.
pub(crate) const SENTENCE: &str = concat!(
    "model: vCPU 0 stores 0x0060000042000703 at 0x0000000040004000, level 3, for 0xffff900000200000 ",
    "while vCPU 0 may still hold 0x0060000041000703 of level 3: break-before-make is needed: ",
    "the output address changes while one side grants write (R_WHZWS, second bullet)",
);

/// One level too high.
pub(crate) fn run(machine: MachineDesc) {
    on(machine, |mut lab| {
        let slot = lab.map(KVA, A, RW);
        Machine::write_desc(slot, Desc::INVALID);
        let (tag, depth, level) = (Tag::AllAsids, Depth::AllLevels, Some(Level::L2));
        flush_by(Tlbi::Va { va: KVA, tag, depth, level }, FlushScope::Broadcast);
        Machine::write_desc(slot, page(B, RW));
    });
}
