//! An ASID passes to another root without a flush.
//!
//! ```text
//!     TTBR0 = root 1, ASID 1      UVA -> A may be held for ASID 1
//!     TTBR0 = root 2, ASID 1      refused: A would be seen in root 2
//! ```
//! The ASID is all that keeps the translations of two roots apart (D8.16.4).

use tests::lab::*;

/// Both roots.
pub(crate) const SENTENCE: &str = concat!(
    "model: vCPU 0 installs root 0x0000000040005000 under ASID 1, which was that of root ",
    "0x0000000040001000: what it holds of that was never flushed (D8.16.4)",
);

/// Rolls over without a flush.
pub(crate) fn run(machine: MachineDesc) {
    on(machine, |mut lab| {
        lab.map(UVA, A, USER_RW);
        Machine::set_user_root(None);
        Machine::set_user_root(Some((lab.table(), ASID)));
    });
}
