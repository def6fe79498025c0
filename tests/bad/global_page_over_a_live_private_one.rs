//! One root maps an address globally that another maps for itself.
//!
//! ```text
//!     UVA -> A r- nG              ASID 1, live
//!     TTBR0 = other root          ASID 2
//!     store  UVA -> B r- global   refused: ASID 1 gets the one or the other
//! ```
//! A global entry serves every ASID, the first one too. R_WHZWS, fourth bullet.

use tests::lab::*;

/// The entry of the other root.
pub(crate) const SENTENCE: &str = concat!(
    "model: vCPU 0 stores 0x00600000420007c3 at 0x0000000040008000, level 3, for 0x0000004000600000 ",
    "while vCPU 0 may still hold 0x0060000041000fc3 of level 3: break-before-make is needed: ",
    "a global entry replaces a non-global one (R_WHZWS, fourth bullet)",
);

/// Maps globally what another ASID maps as its own.
pub(crate) fn run(machine: MachineDesc) {
    on(machine, |mut lab| {
        lab.map(UVA, A, USER_RO);
        Machine::set_user_root(Some((lab.table(), Asid::new(2))));
        lab.map(UVA, B, USER_RO.difference(PteFlags::NOT_GLOBAL));
    });
}
