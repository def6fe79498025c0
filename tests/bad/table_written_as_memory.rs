//! A live table is written by other means than a descriptor store.
//!
//! ```text
//!     KVA -> T -> A               live
//!     memset(T, 0)                refused
//! ```
//! Descriptors change by single-copy atomic 64-bit stores (B2.2, D8.2.3): a walk may see every byte of it by itself.

use tests::lab::*;

/// What the page is to a walker.
pub(crate) const SENTENCE: &str = concat!(
    "model: vCPU 0 writes to 0x0000000040004000, a table of level 3 for 0xffff900000200000 that can still ",
    "be walked",
);

/// Unmaps with memset.
pub(crate) fn run(machine: MachineDesc) {
    on(machine, |mut lab| {
        let leaf = lab.map(KVA, A, RW);
        Machine::write_bytes(leaf, &[0; 8]);
        flush(KVA);
    });
}
