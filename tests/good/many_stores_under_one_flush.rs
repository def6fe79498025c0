//! Sixteen pages are unmapped, flushed at once, and given back.
//!
//! ```text
//!     UVA + n -> A + n            16 pages, live
//!     store  all -> 0
//!     DSB ISHST; TLBI RVAE1IS UVA, 16 pages; DSB ISH
//!     free   all
//! ```
//! One barrier orders any number of stores before one TLBI (D8.14.5): what a gather is for.

use tests::lab::*;

/// Three instructions for sixteen pages.
pub(crate) fn run(machine: MachineDesc) {
    on(machine, |mut lab| {
        start_vcpu_1();
        let slots: Vec<_> = (0..GROUP)
            .map(|n| n * PAGE_SIZE)
            .map(|offset| lab.map(UVA.add(offset), A.add(offset), USER_RW))
            .collect();
        for slot in slots {
            Machine::write_desc(slot, Desc::INVALID);
        }
        let (tag, depth, level) = (Tag::Asid(ASID), Depth::LeafOnly, None);
        flush_by(Tlbi::Range { start: UVA, pages: GROUP, tag, depth, level }, FlushScope::Broadcast);
        Machine::released(A, GROUP * PAGE_SIZE);
    });
}
