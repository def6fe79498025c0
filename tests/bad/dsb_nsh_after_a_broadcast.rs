//! A broadcast TLBI is waited for with a barrier of this vCPU alone.
//!
//! ```text
//!     KVA -> A                    live on vCPUs 0 and 1
//!     store  KVA -> 0; DSB ISHST; TLBI VAAE1IS KVA
//!     DSB NSH                     the answer of vCPU 1 is not awaited
//!     store  KVA -> B             refused
//! ```
//! The domain of the barrier must cover that of the TLBI (B2.3.11).

use tests::lab::*;

/// Who has not answered.
pub(crate) const SENTENCE: &str = concat!(
    "model: vCPU 0 stores 0x0060000042000703 at 0x0000000040004000, level 3, for 0xffff900000200000 ",
    "while vCPUs 0 and 1 may still hold 0x0060000041000703 of level 3: break-before-make is needed: ",
    "the output address changes while one side grants write (R_WHZWS, second bullet)",
);

/// NSH after IS.
pub(crate) fn run(machine: MachineDesc) {
    on(machine, |mut lab| {
        start_vcpu_1();
        let slot = lab.map(KVA, A, RW);
        Machine::write_desc(slot, Desc::INVALID);
        Machine::dsb(Dsb::IshSt);
        Machine::tlbi(everything_at(KVA), FlushScope::Broadcast);
        Machine::dsb(Dsb::Nsh);
        Machine::write_desc(slot, page(B, RW));
    });
}
