//! A page is unmapped and given back before the flush.
//!
//! ```text
//!     UVA -> A                    live
//!     store  UVA -> 0             unmapped, flush owed
//!     free   A                    refused: the user may still write there
//!     DSB ISHST; TLBI VAAE1IS UVA; DSB ISH
//! ```
//! Frames wait for the flush that takes the last translation away (R_GPPYH).

use tests::lab::*;

/// By which address.
pub(crate) const SENTENCE: &str = concat!(
    "model: vCPU 0 gives back 4096 bytes at 0x0000000041000000 ",
    "while vCPU 0 may still hold 0x0060000041000f43 of level 3 for 0x0000004000600000 (R_GPPYH)",
);

/// The right steps in the wrong order.
pub(crate) fn run(machine: MachineDesc) {
    on(machine, |mut lab| {
        let slot = lab.map(UVA, A, USER_RW);
        Machine::write_desc(slot, Desc::INVALID);
        Machine::released(A, PAGE_SIZE);
        flush(UVA);
    });
}
