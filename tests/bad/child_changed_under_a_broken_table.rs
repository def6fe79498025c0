//! A table is unlinked, and an entry in it moved before the flush.
//!
//! ```text
//!     KVA -> T -> A rw            live
//!     store  KVA -> 0             T unlinked, flush owed
//!     store  T[0] -> B rw         refused: walks still get there
//! ```
//! Until the flush has completed the table is as live as before (R_RVJDB): its entries have their own rule.

use tests::lab::*;

/// As if the table were linked.
pub(crate) const SENTENCE: &str = concat!(
    "model: vCPU 0 stores 0x0060000042000703 over 0x0060000041000703 ",
    "at 0x0000000040004000, level 3, for 0xffff900000200000: break-before-make is needed: ",
    "the output address changes while one side grants write (R_WHZWS, second bullet)",
);

/// Reuses the table as it stands.
pub(crate) fn run(machine: MachineDesc) {
    on(machine, |mut lab| {
        let leaf = lab.map(KVA, A, RW);
        make(lab.slot(KVA, Level::L2), Desc::INVALID);
        Machine::write_desc(leaf, page(B, RW));
    });
}
