//! The page beside the broken one is flushed.
//!
//! ```text
//!     KVA -> A                    live
//!     store  KVA -> 0; DSB ISHST; TLBI VAAE1IS KVA + 4K; DSB ISH
//!     store  KVA -> B             refused
//! ```
//! TLBI by address removes the entries that translate this address (D8.14.5).

use tests::lab::*;

/// What was not named.
pub(crate) const SENTENCE: &str = concat!(
    "model: vCPU 0 stores 0x0060000042000703 at 0x0000000040004000, level 3, for 0xffff900000200000 ",
    "while vCPU 0 may still hold 0x0060000041000703 of level 3: break-before-make is needed: ",
    "the output address changes while one side grants write (R_WHZWS, second bullet)",
);

/// One page off.
pub(crate) fn run(machine: MachineDesc) {
    on(machine, |mut lab| {
        let slot = lab.map(KVA, A, RW);
        Machine::write_desc(slot, Desc::INVALID);
        flush(KVA.add(PAGE_SIZE));
        Machine::write_desc(slot, page(B, RW));
    });
}
