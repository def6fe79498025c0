//! One page of a block is given back while the block maps all 512.
//!
//! ```text
//!     UVA .. +2M -> A             block, live
//!     free   A + 5 pages          refused
//! ```
//! Part of a block cannot be unmapped: split it first, then unmap the page, flush, free.

use tests::lab::*;

/// The block.
pub(crate) const SENTENCE: &str = concat!(
    "model: vCPU 0 gives back 4096 bytes at 0x0000000041005000 ",
    "while vCPU 0 can walk to 0x0060000041000f41 of level 2 for 0x0000004000600000 (R_GPPYH)",
);

/// Frees one of 512.
pub(crate) fn run(machine: MachineDesc) {
    on(machine, |mut lab| {
        lab.map_block(UVA, A, USER_RW);
        Machine::released(A.add(5 * PAGE_SIZE), PAGE_SIZE);
    });
}
