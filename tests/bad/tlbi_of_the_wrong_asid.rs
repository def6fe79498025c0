//! A user page is flushed under another ASID than the one that it is held for.
//!
//! ```text
//!     UVA -> A nG                 live, ASID 1
//!     store  UVA -> 0; DSB ISHST; TLBI VAE1IS UVA, ASID 2; DSB ISH
//!     store  UVA -> B             refused
//! ```
//! A non-global entry is removed by its own ASID, or by all (D8.14.5).

use tests::lab::*;

/// What was not named.
pub(crate) const SENTENCE: &str = concat!(
    "model: vCPU 0 stores 0x0060000042000f43 at 0x0000000040004000, level 3, for 0x0000004000600000 ",
    "while vCPU 0 may still hold 0x0060000041000f43 of level 3: break-before-make is needed: ",
    "the output address changes while one side grants write (R_WHZWS, second bullet)",
);

/// The right address of the wrong space.
pub(crate) fn run(machine: MachineDesc) {
    on(machine, |mut lab| {
        let slot = lab.map(UVA, A, USER_RW);
        Machine::write_desc(slot, Desc::INVALID);
        let tag = Tag::Asid(Asid::new(2));
        flush_by(Tlbi::Va { va: UVA, tag, depth: Depth::AllLevels, level: None }, FlushScope::Broadcast);
        Machine::write_desc(slot, page(B, USER_RW));
    });
}
