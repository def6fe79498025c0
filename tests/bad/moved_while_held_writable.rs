//! A page is made read-only, and moved to an equal copy before that has reached the TLBs.
//!
//! ```text
//!     KVA -> A rw                 live
//!     store  KVA -> A r-          right taken away, flush owed
//!                                 (no flush)
//!     store  KVA -> B r-          refused: some TLB may still write A
//! ```
//! The descriptor in memory is read-only, but R_WHZWS speaks of what may be held.

use tests::lab::*;

/// Who may hold what.
pub(crate) const SENTENCE: &str = concat!(
    "model: vCPU 0 stores 0x0060000042000783 at 0x0000000040004000, level 3, for 0xffff900000200000 ",
    "while vCPU 0 may still hold 0x0060000041000703 of level 3: break-before-make is needed: ",
    "the output address changes while one side grants write (R_WHZWS, second bullet)",
);

/// Forgets the flush between the two steps.
pub(crate) fn run(machine: MachineDesc) {
    on(machine, |mut lab| {
        let slot = lab.map(KVA, A, RW);
        make(slot, page(A, RO));
        make(slot, page(B, RO));
    });
}
