//! A table of two pages is unlinked; one page is flushed at all levels, and both are given back.
//!
//! ```text
//!     UVA + 0, 1 -> T -> A + 0, 1         live
//!     store  UVA's table -> 0; DSB ISHST; TLBI VAE1IS UVA; DSB ISH
//!     free   A + 0                        no translation is left
//!     free   A + 1                        refused: its leaf was not named
//! ```
//! A TLBI of all levels removes the table for the whole region, but leaves for its one address only (D8.14.5).

use tests::lab::*;

/// By which address.
pub(crate) const SENTENCE: &str = concat!(
    "model: vCPU 0 gives back 4096 bytes at 0x0000000041001000 ",
    "while vCPU 0 may still hold 0x0060000041001f43 of level 3 for 0x0000004000601000 (R_GPPYH)",
);

/// One address for two pages.
pub(crate) fn run(machine: MachineDesc) {
    on(machine, |mut lab| {
        lab.map(UVA, A, USER_RW);
        lab.map(UVA.add(PAGE_SIZE), A.add(PAGE_SIZE), USER_RW);
        Machine::write_desc(lab.slot(UVA, Level::L2), Desc::INVALID);
        flush(UVA);
        Machine::released(A, PAGE_SIZE);
        Machine::released(A.add(PAGE_SIZE), PAGE_SIZE);
    });
}
