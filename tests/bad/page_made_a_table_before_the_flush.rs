//! A user page is unmapped and becomes a table before the flush.
//!
//! ```text
//!     UVA -> A rw                 live
//!     store  UVA -> 0             unmapped, flush owed
//!     store  KVA -> A             refused: the user may still write A, and the walker reads it
//! ```
//! A user that writes tables maps itself what it likes (R_GPPYH).

use tests::lab::*;

/// By which address.
pub(crate) const SENTENCE: &str = concat!(
    "model: vCPU 0 makes 0x0000000041000000 a table of level 3 for 0xffff900000200000 ",
    "while vCPU 0 may still hold 0x0060000041000f43 of level 3 for 0x0000004000600000: ",
    "a walk may read what is written there",
);

/// The worst use of a page that was freed too early.
pub(crate) fn run(machine: MachineDesc) {
    on(machine, |mut lab| {
        let slot = lab.map(UVA, A, USER_RW);
        make(slot, Desc::INVALID);
        Machine::write_desc(lab.slot(KVA, Level::L2), Desc::table(A));
    });
}
