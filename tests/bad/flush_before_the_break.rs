//! The flush comes before the break.
//!
//! ```text
//!     KVA -> A                    live
//!     DSB ISHST; TLBI VAAE1IS KVA; DSB ISH
//!     store  KVA -> 0; DSB ISH    a walk between the two has it again
//!     store  KVA -> B             refused
//! ```
//! A TLBI is about entries of the past; the next walk makes a new one (R_FFWJK).

use tests::lab::*;

/// What a walk brought back.
pub(crate) const SENTENCE: &str = concat!(
    "model: vCPU 0 stores 0x0060000042000703 at 0x0000000040004000, level 3, for 0xffff900000200000 ",
    "while vCPU 0 may still hold 0x0060000041000703 of level 3: break-before-make is needed: ",
    "the output address changes while one side grants write (R_WHZWS, second bullet)",
);

/// The right steps in the wrong order.
pub(crate) fn run(machine: MachineDesc) {
    on(machine, |mut lab| {
        let slot = lab.map(KVA, A, RW);
        flush(KVA);
        Machine::write_desc(slot, Desc::INVALID);
        Machine::dsb(Dsb::Ish);
        Machine::write_desc(slot, page(B, RW));
    });
}
