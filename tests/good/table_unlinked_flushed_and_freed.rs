//! A table is unlinked with all that it maps, flushed, and given back.
//!
//! ```text
//!     UVA + 0, 1 -> T -> A + 0, 1         live
//!     store  UVA's table -> 0
//!     DSB ISHST; TLBI RVAE1IS UVA, 512 pages, TTL = level 3; DSB ISH
//!     free   A + 0, A + 1, T
//! ```
//! All levels for all that T covers; a hint for the leaves lets the table above them leave as well (FEAT_TTL).

use tests::lab::*;

/// Then the page is used for something else.
pub(crate) fn run(machine: MachineDesc) {
    on(machine, |mut lab| {
        let leaf = lab.map(UVA, A, USER_RW);
        lab.map(UVA.add(PAGE_SIZE), A.add(PAGE_SIZE), USER_RW);
        Machine::write_desc(lab.slot(UVA, Level::L2), Desc::INVALID);
        let (tag, depth, level) = (Tag::Asid(ASID), Depth::AllLevels, Some(Level::L3));
        flush_by(Tlbi::Range { start: UVA, pages: 512, tag, depth, level }, FlushScope::Broadcast);
        Machine::released(A, 2 * PAGE_SIZE);
        let table = leaf.align_down(PAGE_SIZE);
        Machine::released(table, PAGE_SIZE);
        Machine::zero(table, PAGE_SIZE);
    });
}
