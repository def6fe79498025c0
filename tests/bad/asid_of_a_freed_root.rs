//! A root is left and given back, and its ASID reused without a flush.
//!
//! ```text
//!     TTBR0 = root 1, ASID 1      UVA -> A may be held for ASID 1
//!     TTBR0 = none; free root 1
//!     TTBR0 = root 2, ASID 1      refused: A would be seen in root 2
//! ```
//! An ASID outlives its root by all that is held under it (D8.16.4).

use tests::lab::*;

/// The former root has no address any more.
pub(crate) const SENTENCE: &str = concat!(
    "model: vCPU 0 installs root 0x0000000040005000 under ASID 1, which was that of a root that is gone: ",
    "what it holds of that was never flushed (D8.16.4)",
);

/// Forgets the flush of the exit.
pub(crate) fn run(machine: MachineDesc) {
    on(machine, |mut lab| {
        lab.map(UVA, A, USER_RW);
        Machine::set_user_root(None);
        Machine::released(USER_ROOT, PAGE_SIZE);
        Machine::set_user_root(Some((lab.table(), ASID)));
    });
}
