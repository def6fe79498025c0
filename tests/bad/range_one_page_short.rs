//! Three pages are broken and a range of two is flushed.
//!
//! ```text
//!     KVA + 0, 1, 2 -> A + 0, 1, 2        live
//!     store  all -> 0; DSB ISHST; TLBI RVAAE1IS KVA, 2 pages; DSB ISH
//!     store  KVA + 2 -> B                 refused
//! ```
//! A range names pages; the end is not among them (FEAT_TLBIRANGE).

use tests::lab::*;

/// The page behind the range.
pub(crate) const SENTENCE: &str = concat!(
    "model: vCPU 0 stores 0x0060000042000703 at 0x0000000040004010, level 3, for 0xffff900000202000 ",
    "while vCPU 0 may still hold 0x0060000041002703 of level 3: break-before-make is needed: ",
    "the output address changes while one side grants write (R_WHZWS, second bullet)",
);

/// Counts from zero.
pub(crate) fn run(machine: MachineDesc) {
    on(machine, |mut lab| {
        let pages = [0, 1, 2].map(|n| n * PAGE_SIZE);
        let slots = pages.map(|offset| lab.map(KVA.add(offset), A.add(offset), RW));
        for slot in slots {
            Machine::write_desc(slot, Desc::INVALID);
        }
        let (tag, depth, level) = (Tag::AllAsids, Depth::LeafOnly, Some(Level::L3));
        flush_by(Tlbi::Range { start: KVA, pages: 2, tag, depth, level }, FlushScope::Broadcast);
        Machine::write_desc(slots[2], page(B, RW));
    });
}
