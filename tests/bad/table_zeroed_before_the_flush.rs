//! A table is unlinked and zeroed before the flush.
//!
//! ```text
//!     KVA -> T -> A               live
//!     store  KVA -> 0             unlinked, flush owed
//!     zero   T                    refused: a walk cache may still lead there
//! ```
//! An intermediate entry is held like a leaf (R_RVJDB), and a walk from it reads whatever T holds by then.

use tests::lab::*;

/// What the page is to a walker.
pub(crate) const SENTENCE: &str = concat!(
    "model: vCPU 0 writes to 0x0000000040004000, a table of level 3 for 0xffff900000200000 that can still ",
    "be walked",
);

/// Cleans the table for its next use.
pub(crate) fn run(machine: MachineDesc) {
    on(machine, |mut lab| {
        let leaf = lab.map(KVA, A, RW);
        make(lab.slot(KVA, Level::L2), Desc::INVALID);
        Machine::zero(leaf.align_down(PAGE_SIZE), PAGE_SIZE);
    });
}
