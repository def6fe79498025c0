//! A non-global page becomes global in one store.
//!
//! ```text
//!     UVA -> A r- nG              live, held for ASID 1
//!     store  UVA -> A r- global   refused
//! ```
//! Under ASID 1 both match. R_WHZWS, fourth bullet: a global entry may not overlap a non-global one.

use tests::lab::*;

/// The way back, global to non-global, is another matter.
pub(crate) const SENTENCE: &str = concat!(
    "model: vCPU 0 stores 0x00600000410007c3 over 0x0060000041000fc3 ",
    "at 0x0000000040004000, level 3, for 0x0000004000600000: break-before-make is needed: ",
    "a global entry replaces a non-global one (R_WHZWS, fourth bullet)",
);

/// Clears nG and nothing else.
pub(crate) fn run(machine: MachineDesc) {
    on(machine, |mut lab| {
        let slot = lab.map(UVA, A, USER_RO);
        Machine::write_desc(slot, page(A, USER_RO.difference(PteFlags::NOT_GLOBAL)));
    });
}
