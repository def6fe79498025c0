//! A global page is flushed by ASID.
//!
//! ```text
//!     UVA -> A global             live
//!     store  UVA -> 0; DSB ISHST; TLBI ASIDE1IS 1; DSB ISH
//!     store  UVA -> B             refused
//! ```
//! TLBI ASIDE1 removes non-global entries; a global one belongs to no ASID (D8.14.5).

use tests::lab::*;

/// What belongs to no ASID.
pub(crate) const SENTENCE: &str = concat!(
    "model: vCPU 0 stores 0x0060000042000743 at 0x0000000040004000, level 3, for 0x0000004000600000 ",
    "while vCPU 0 may still hold 0x0060000041000743 of level 3: break-before-make is needed: ",
    "the output address changes while one side grants write (R_WHZWS, second bullet)",
);

/// Flushes the space that it was mapped in.
pub(crate) fn run(machine: MachineDesc) {
    const GLOBAL: PteFlags = USER_RW.difference(PteFlags::NOT_GLOBAL);
    on(machine, |mut lab| {
        let slot = lab.map(UVA, A, GLOBAL);
        Machine::write_desc(slot, Desc::INVALID);
        flush_by(Tlbi::Asid(ASID), FlushScope::Broadcast);
        Machine::write_desc(slot, page(B, GLOBAL));
    });
}
