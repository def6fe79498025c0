//! A page that hardware may make writable is moved to an equal copy.
//!
//! ```text
//!     UVA -> A r- DBM             live; TCR_EL1.HD = 1
//!     cas    UVA -> B r- DBM      refused: the next write makes it writable, whichever is held
//! ```
//! With hardware dirty state, DBM grants write (D8.5.3). R_WHZWS, second bullet.

use tests::lab::*;

/// Nothing here is writable by AP[2].
pub(crate) const SENTENCE: &str = concat!(
    "model: vCPU 0 stores 0x0068000042000fc3 over 0x0068000041000fc3 ",
    "at 0x0000000040004000, level 3, for 0x0000004000600000: break-before-make is needed: ",
    "the output address changes while one side grants write (R_WHZWS, second bullet)",
);

/// Read-only, equal bytes, and still forbidden.
pub(crate) fn run(machine: MachineDesc) {
    const RIGHTS: PteFlags = USER_RO.union(PteFlags::DBM);
    on(with_hw_dirty(machine), |mut lab| {
        let slot = lab.map(UVA, A, RIGHTS);
        let _swapped = Machine::cas_desc(slot, page(A, RIGHTS), page(B, RIGHTS));
    });
}
