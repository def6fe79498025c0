//! A non-global page is unmapped; before the flush, another root maps the address globally.
//!
//! ```text
//!     UVA -> A r- nG              ASID 1
//!     store  UVA -> 0             (no flush)
//!     TTBR0 = other root          ASID 2
//!     store  UVA -> A r- global   refused: held for ASID 1, too
//! ```
//! The two overlap wherever ASID 1 runs again. R_WHZWS, fourth bullet.

use tests::lab::*;

/// The entry of the other root.
pub(crate) const SENTENCE: &str = concat!(
    "model: vCPU 0 stores 0x00600000410007c3 at 0x0000000040008000, level 3, for 0x0000004000600000 ",
    "while vCPU 0 may still hold 0x0060000041000fc3 of level 3: break-before-make is needed: ",
    "a global entry replaces a non-global one (R_WHZWS, fourth bullet)",
);

/// Maps globally what another ASID still has.
pub(crate) fn run(machine: MachineDesc) {
    on(machine, |mut lab| {
        let slot = lab.map(UVA, A, USER_RO);
        make(slot, Desc::INVALID);
        Machine::set_user_root(Some((lab.table(), Asid::new(2))));
        lab.map(UVA, A, USER_RO.difference(PteFlags::NOT_GLOBAL));
    });
}
