//! A read-only page is moved to a page that does not hold the same.
//!
//! ```text
//!     A: 0 0 0 ... 0 0            B: 0 0 0 ... 0 1
//!     KVA -> A r-                 live
//!     store  KVA -> B r-          refused
//! ```
//! One byte that differs is enough: two reads in a row may see 1 and then 0. R_WHZWS, second bullet.

use tests::lab::*;

/// The contents decide, not the rights.
pub(crate) const SENTENCE: &str = concat!(
    "model: vCPU 0 stores 0x0060000042000783 over 0x0060000041000783 ",
    "at 0x0000000040004000, level 3, for 0xffff900000200000: break-before-make is needed: ",
    "the output address changes and the contents differ (R_WHZWS, second bullet)",
);

/// Moves it, with the last byte of the new page changed.
pub(crate) fn run(machine: MachineDesc) {
    on(machine, |mut lab| {
        Machine::write_bytes(B.add(PAGE_SIZE - 1), &[1]);
        let slot = lab.map(KVA, A, RO);
        Machine::write_desc(slot, page(B, RO));
    });
}
