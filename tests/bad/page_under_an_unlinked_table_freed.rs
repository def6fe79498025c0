//! A table is unlinked, and the page that it maps given back before the flush.
//!
//! ```text
//!     UVA -> T -> A               live
//!     store  UVA's table -> 0     T unlinked, flush owed
//!     free   A                    refused: T still says A, and a walk cache says T
//!     DSB ISHST; TLBI VAAE1IS UVA; DSB ISH
//! ```
//! What hangs from a table that is held can be reached through it (R_RVJDB).

use tests::lab::*;

/// By which address.
pub(crate) const SENTENCE: &str = concat!(
    "model: vCPU 0 gives back 4096 bytes at 0x0000000041000000 ",
    "while vCPU 0 can walk to 0x0060000041000f43 of level 3 for 0x0000004000600000 (R_GPPYH)",
);

/// Unmaps at a higher level, and thinks that done.
pub(crate) fn run(machine: MachineDesc) {
    on(machine, |mut lab| {
        lab.map(UVA, A, USER_RW);
        make(lab.slot(UVA, Level::L2), Desc::INVALID);
        Machine::released(A, PAGE_SIZE);
        flush(UVA);
    });
}
