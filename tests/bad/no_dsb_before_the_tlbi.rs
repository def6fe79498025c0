//! The TLBI is issued before the break is visible to walkers.
//!
//! ```text
//!     KVA -> A                    live
//!     store  KVA -> 0             (no DSB)
//!     TLBI VAAE1IS KVA; DSB ISH   a walk after the TLBI still sees A
//!     store  KVA -> B             refused
//! ```
//! A TLBI covers what was walked before stores that a DSB has made visible (D8.14.5, I_WZCBG).

use tests::lab::*;

/// What a walk brought back.
pub(crate) const SENTENCE: &str = concat!(
    "model: vCPU 0 stores 0x0060000042000703 at 0x0000000040004000, level 3, for 0xffff900000200000 ",
    "while vCPU 0 may still hold 0x0060000041000703 of level 3: break-before-make is needed: ",
    "the output address changes while one side grants write (R_WHZWS, second bullet)",
);

/// Leaves out the first barrier.
pub(crate) fn run(machine: MachineDesc) {
    on(machine, |mut lab| {
        let slot = lab.map(KVA, A, RW);
        Machine::write_desc(slot, Desc::INVALID);
        Machine::tlbi(everything_at(KVA), FlushScope::Broadcast);
        Machine::dsb(Dsb::Ish);
        Machine::write_desc(slot, page(B, RW));
    });
}
