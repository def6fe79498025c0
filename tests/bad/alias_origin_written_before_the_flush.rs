//! A read-only page is repointed to an equal copy, and the page it was copied from written before the flush.
//!
//! ```text
//!     KVA -> A r-                 live; A = B
//!     store  KVA -> B r-          allowed: equal
//!     write  A                    refused: reads of KVA may come from B already
//!     DSB ISHST; TLBI VAAE1IS KVA; DSB ISH
//! ```
//! Equal contents are asked for as long as both may be held (R_WHZWS, second bullet).

use tests::lab::*;

/// Which entry does not see it.
pub(crate) const SENTENCE: &str = concat!(
    "model: vCPU 0 writes 1 bytes at 0x0000000041000000, which stand for 0xffff900000200000, ",
    "while vCPU 0 may still hold 0x0060000041000783 of level 3 there: ",
    "the contents come to differ (R_WHZWS, second bullet)",
);

/// Compares once, and writes.
pub(crate) fn run(machine: MachineDesc) {
    on(machine, |mut lab| {
        let slot = lab.map(KVA, A, RO);
        make(slot, page(B, RO));
        Machine::write_bytes(A, &[1]);
        flush(KVA);
    });
}
