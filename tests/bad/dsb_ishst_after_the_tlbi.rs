//! A barrier for stores is taken for one that completes a TLBI.
//!
//! ```text
//!     KVA -> A                    live
//!     store  KVA -> 0; DSB ISHST; TLBI VAAE1IS KVA
//!     DSB ISHST                   waits for stores, not for TLBIs
//!     store  KVA -> B             refused
//! ```
//! Only a DSB for loads and stores completes TLB maintenance (B2.3.11).

use tests::lab::*;

/// What the TLBI has not removed yet.
pub(crate) const SENTENCE: &str = concat!(
    "model: vCPU 0 stores 0x0060000042000703 at 0x0000000040004000, level 3, for 0xffff900000200000 ",
    "while vCPU 0 may still hold 0x0060000041000703 of level 3: break-before-make is needed: ",
    "the output address changes while one side grants write (R_WHZWS, second bullet)",
);

/// ISHST twice.
pub(crate) fn run(machine: MachineDesc) {
    on(machine, |mut lab| {
        let slot = lab.map(KVA, A, RW);
        Machine::write_desc(slot, Desc::INVALID);
        Machine::dsb(Dsb::IshSt);
        Machine::tlbi(everything_at(KVA), FlushScope::Broadcast);
        Machine::dsb(Dsb::IshSt);
        Machine::write_desc(slot, page(B, RW));
    });
}
