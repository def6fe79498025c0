//! A page is made read-only, and nobody ever flushes.
//!
//! ```text
//!     KVA -> A rw                 live
//!     store  KVA -> A r-; DSB ISHST
//!     the end                     refused: A could be written all the time
//! ```
//! A permission that is taken away is gone when the TLBI has completed, not before (R_GPPYH).

use tests::lab::*;

/// What was owed.
pub(crate) const SENTENCE: &str = concat!(
    "model: the machine ends ",
    "while vCPU 0 may still hold 0x0060000041000703 of level 3 for 0xffff900000200000, which vCPU 0 has ",
    "taken away by a store at 0x0000000040004000: it was never flushed (R_GPPYH)",
);

/// Forgets the flush.
pub(crate) fn run(machine: MachineDesc) {
    on(machine, |mut lab| {
        let slot = lab.map(KVA, A, RW);
        make(slot, page(A, RO));
    });
}
