//! One of a contiguous group is broken, flushed, and made elsewhere.
//!
//! ```text
//!     KVA + n -> A + n C          16 pages, live
//!     store  KVA + 3 -> 0; flush KVA + 3
//!     store  KVA + 3 -> B         refused: 15 others still stand for the whole group
//! ```
//! A walk of any neighbour brings the entry of sixteen back: a group is broken as a whole (D8.7.1).

use tests::lab::*;

/// A neighbour that still stands.
pub(crate) const SENTENCE: &str = concat!(
    "model: vCPU 0 stores 0x0060000042000703 at 0x0000000040004018, level 3, for 0xffff900000203000 ",
    "while 0x0070000041000703 stands for 0xffff900000200000 in its contiguous group: ",
    "break-before-make is needed: block, table or contiguous size changes (R_WHZWS, third bullet)",
);

/// Breaks one where sixteen must be broken.
pub(crate) fn run(machine: MachineDesc) {
    on(machine, |mut lab| {
        let first = lab.map_group(KVA, A, RW);
        let slot = first.add(8 * 3);
        Machine::write_desc(slot, Desc::INVALID);
        flush(KVA.add(3 * PAGE_SIZE));
        make(slot, page(B, RW));
    });
}
