//! A clean page is made unwritable by a plain store while hardware may make it dirty.
//!
//! ```text
//!     UVA -> A r- DBM             clean; TCR_EL1.HD = 1
//!     load                        r- DBM: clean
//!                                 a write: hardware makes it rw, dirty
//!     store  UVA -> A r-          refused: what was written is thought clean
//! ```
//! Hardware updates a descriptor atomically, and so must software (D8.5.3): compare and swap.

use tests::lab::*;

/// What hardware may do meanwhile.
pub(crate) const SENTENCE: &str = concat!(
    "model: vCPU 0 stores 0x0060000041000fc3 over 0x0068000041000fc3 ",
    "at 0x0000000040004000, level 3, for 0x0000004000600000: ",
    "hardware may set the dirty state at any moment, and a plain store loses it; compare and swap (D8.5)",
);

/// Loads, changes, stores.
pub(crate) fn run(machine: MachineDesc) {
    on(with_hw_dirty(machine), |mut lab| {
        let slot = lab.map(UVA, A, USER_RO | PteFlags::DBM);
        Machine::write_desc(slot, page(A, USER_RO));
    });
}
