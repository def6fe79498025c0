//! A page is unmapped and zeroed for its next use before the flush.
//!
//! ```text
//!     UVA -> A                    live
//!     store  UVA -> 0             unmapped, flush owed
//!     zero   A                    refused: a write through UVA may come after it
//! ```
//! Until the flush, what was zeroed need not stay zero (R_GPPYH).

use tests::lab::*;

/// By which address.
pub(crate) const SENTENCE: &str = concat!(
    "model: vCPU 0 fills 4096 bytes at 0x0000000041000000, which were unmapped, ",
    "while vCPU 0 may still hold 0x0060000041000f43 of level 3 for 0x0000004000600000 (R_GPPYH)",
);

/// Zeroes too early.
pub(crate) fn run(machine: MachineDesc) {
    on(machine, |mut lab| {
        let slot = lab.map(UVA, A, USER_RW);
        make(slot, Desc::INVALID);
        Machine::zero(A, PAGE_SIZE);
    });
}
