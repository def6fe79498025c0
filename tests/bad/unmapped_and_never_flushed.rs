//! A page is unmapped, and nobody ever flushes.
//!
//! ```text
//!     UVA -> A                    live
//!     store  UVA -> 0; DSB ISHST
//!     the end                     refused: A could be used all the time
//! ```
//! A translation that is taken away is gone when the TLBI has completed, not before (R_GPPYH).

use tests::lab::*;

/// What was owed.
pub(crate) const SENTENCE: &str = concat!(
    "model: the machine ends ",
    "while vCPU 0 may still hold 0x0060000041000f43 of level 3 for 0x0000004000600000, which vCPU 0 has ",
    "taken away by a store at 0x0000000040004000: it was never flushed (R_GPPYH)",
);

/// Forgets the flush.
pub(crate) fn run(machine: MachineDesc) {
    on(machine, |mut lab| {
        let slot = lab.map(UVA, A, USER_RW);
        make(slot, Desc::INVALID);
    });
}
