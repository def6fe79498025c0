//! A table is replaced by one with other descriptors.
//!
//! ```text
//!     KVA -> T: pages -> A        live
//!     store  KVA -> U: pages -> B refused
//! ```
//! A walk may go through either, also half and half. Tables are memory, and what stands in them are its contents:
//! R_WHZWS, second bullet.

use tests::lab::*;

/// The contents are the descriptors.
pub(crate) const SENTENCE: &str = concat!(
    "model: vCPU 0 stores 0x0000000040005003 over 0x0000000040004003 ",
    "at 0x0000000040003008, level 2, for 0xffff900000200000: break-before-make is needed: ",
    "the output address changes and the contents differ (R_WHZWS, second bullet)",
);

/// Replaces 512 pages by one store.
pub(crate) fn run(machine: MachineDesc) {
    on(machine, |mut lab| {
        let slot = lab.slot(KVA, Level::L2);
        let (old, new) = (lab.pages(A, RO), lab.pages(B, RO));
        make(slot, Desc::table(old));
        Machine::write_desc(slot, Desc::table(new));
    });
}
