//! A table is unlinked, and only last-level entries are flushed before another is linked.
//!
//! ```text
//!     KVA -> T -> A               live
//!     store  KVA -> 0; DSB ISHST; TLBI VAALE1IS KVA; DSB ISH
//!     store  KVA -> U             refused: a walk cache may still hold T
//! ```
//! VALE and its like leave walk caches alone (D8.14.5): right where only leaves change.

use tests::lab::*;

/// The table that may still be held.
pub(crate) const SENTENCE: &str = concat!(
    "model: vCPU 0 stores 0x0000000040005003 at 0x0000000040003008, level 2, for 0xffff900000200000 ",
    "while vCPU 0 may still hold 0x0000000040004003 of level 2: break-before-make is needed: ",
    "the output address changes and the contents differ (R_WHZWS, second bullet)",
);

/// Last level only.
pub(crate) fn run(machine: MachineDesc) {
    on(machine, |mut lab| {
        lab.map(KVA, A, RW);
        let slot = lab.slot(KVA, Level::L2);
        let other = lab.pages(B, RW);
        Machine::write_desc(slot, Desc::INVALID);
        let (tag, depth, level) = (Tag::AllAsids, Depth::LeafOnly, None);
        flush_by(Tlbi::Va { va: KVA, tag, depth, level }, FlushScope::Broadcast);
        Machine::write_desc(slot, Desc::table(other));
    });
}
