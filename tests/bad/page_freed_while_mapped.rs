//! A page is given back while a descriptor maps it.
//!
//! ```text
//!     UVA -> A                    live
//!     free   A                    refused
//! ```
//! The next owner of A would share it with whoever uses UVA.

use tests::lab::*;

/// Where it is mapped.
pub(crate) const SENTENCE: &str = concat!(
    "model: vCPU 0 gives back 4096 bytes at 0x0000000041000000 ",
    "while vCPU 0 can walk to 0x0060000041000f43 of level 3 for 0x0000004000600000 (R_GPPYH)",
);

/// Frees before it unmaps.
pub(crate) fn run(machine: MachineDesc) {
    on(machine, |mut lab| {
        lab.map(UVA, A, USER_RW);
        Machine::released(A, PAGE_SIZE);
    });
}
