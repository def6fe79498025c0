//! A table is replaced by an equal copy while hardware updates access flags.
//!
//! ```text
//!     UVA -> T: pages -> A        live; TCR_EL1.{HA,HD} = 1
//!     U = copy of T
//!     store  UVA -> U             refused: hardware may be writing AF or dirty state to T
//! ```
//! What the walker writes to the old table after the copy is lost. R_WHZWS, second bullet: one side is written.

use tests::lab::*;

/// Equal is not enough here.
pub(crate) const SENTENCE: &str = concat!(
    "model: vCPU 0 stores 0x0000000040005003 over 0x0000000040004003 ",
    "at 0x0000000040003018, level 2, for 0x0000004000600000: break-before-make is needed: ",
    "the output address changes while one side grants write (R_WHZWS, second bullet)",
);

/// Replaces a table by its copy.
pub(crate) fn run(machine: MachineDesc) {
    on(with_hw_dirty(machine), |mut lab| {
        let slot = lab.slot(UVA, Level::L2);
        let (old, new) = (lab.pages(A, USER_RO), lab.pages(A, USER_RO));
        make(slot, Desc::table(old));
        Machine::write_desc(slot, Desc::table(new));
    });
}
