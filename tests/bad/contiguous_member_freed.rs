//! One of a contiguous group is unmapped and flushed, and its page given back.
//!
//! ```text
//!     KVA + n -> A + n C          16 pages, live
//!     store  KVA + 3 -> 0; flush KVA + 3
//!     free   A + 3                refused: its neighbours translate KVA + 3 as well
//! ```
//! Fifteen members with the contiguous bit may be held as one entry of sixteen (D8.7.1): unfold the group first.

use tests::lab::*;

/// A neighbour that still stands.
pub(crate) const SENTENCE: &str = concat!(
    "model: vCPU 0 gives back 4096 bytes at 0x0000000041003000 ",
    "while vCPU 0 can walk to 0x0070000041000703 of level 3 for 0xffff900000200000 (R_GPPYH)",
);

/// Frees one of sixteen.
pub(crate) fn run(machine: MachineDesc) {
    on(machine, |mut lab| {
        let first = lab.map_group(KVA, A, RW);
        let third = 3 * PAGE_SIZE;
        Machine::write_desc(first.add(8 * 3), Desc::INVALID);
        flush(KVA.add(third));
        Machine::released(A.add(third), PAGE_SIZE);
    });
}
