//! A migration entry is replaced by the new leaf before the old one was flushed.
//!
//! ```text
//!     UVA -> A                      live
//!     store  UVA -> moving(A)       faults from now on; no flush
//!     store  UVA -> B               refused
//! ```
//! A migration entry is an invalid descriptor like any other: it takes the leaf from the tables, not from the TLBs
//! (R_DDMVT).

use tests::lab::*;

/// What the leaf left behind.
pub(crate) const SENTENCE: &str = concat!(
    "model: vCPU 0 stores 0x0060000042000f43 at 0x0000000040004000, level 3, for 0x0000004000600000 ",
    "while vCPU 0 may still hold 0x0060000041000f43 of level 3: break-before-make is needed: ",
    "the output address changes while one side grants write (R_WHZWS, second bullet)",
);

/// Takes "moving" for "gone".
pub(crate) fn run(machine: MachineDesc) {
    on(machine, |mut lab| {
        let slot = lab.map(UVA, A, USER_RW);
        Machine::write_desc(slot, Desc::migration(A, Level::L3, USER_RW));
        Machine::dsb(Dsb::Ish);
        Machine::write_desc(slot, page(B, USER_RW));
    });
}
