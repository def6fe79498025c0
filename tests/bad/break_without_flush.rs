//! An entry is broken and made again without a flush.
//!
//! ```text
//!     KVA -> A                    live
//!     store  KVA -> 0; DSB ISH    broken
//!                                 (no TLBI)
//!     store  KVA -> B             refused
//! ```
//! The break takes the entry from the tables, not from the TLBs (R_DDMVT).

use tests::lab::*;

/// What the break left behind.
pub(crate) const SENTENCE: &str = concat!(
    "model: vCPU 0 stores 0x0060000042000703 at 0x0000000040004000, level 3, for 0xffff900000200000 ",
    "while vCPU 0 may still hold 0x0060000041000703 of level 3: break-before-make is needed: ",
    "the output address changes while one side grants write (R_WHZWS, second bullet)",
);

/// Waits where it had to ask.
pub(crate) fn run(machine: MachineDesc) {
    on(machine, |mut lab| {
        let slot = lab.map(KVA, A, RW);
        Machine::write_desc(slot, Desc::INVALID);
        Machine::dsb(Dsb::Ish);
        Machine::write_desc(slot, page(B, RW));
    });
}
