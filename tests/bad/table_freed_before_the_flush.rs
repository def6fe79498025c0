//! A table is unlinked and given back before the flush.
//!
//! ```text
//!     UVA -> T -> A               live, ASID 1
//!     store  UVA -> 0             unlinked, flush owed
//!     free   T                    refused: a walk cache may still lead there
//! ```
//! Tables wait for the flush like pages (R_GPPYH, R_RVJDB).

use tests::lab::*;

/// Who can still walk what is given back.
pub(crate) const SENTENCE: &str = concat!(
    "model: vCPU 0 gives back 0x0000000040004000, a table of level 3 for 0x0000004000600000 that vCPU 0 can ",
    "still walk",
);

/// Frees too early.
pub(crate) fn run(machine: MachineDesc) {
    on(machine, |mut lab| {
        let leaf = lab.map(UVA, A, USER_RW);
        make(lab.slot(UVA, Level::L2), Desc::INVALID);
        Machine::released(leaf.align_down(PAGE_SIZE), PAGE_SIZE);
        flush(UVA);
    });
}
