//! The break is made visible to this vCPU's own walker only.
//!
//! ```text
//!     KVA -> A                    live on vCPUs 0 and 1
//!     store  KVA -> 0; DSB NSH    vCPU 1 may still walk to A
//!     TLBI VAAE1IS KVA; DSB ISH
//!     store  KVA -> B             refused
//! ```
//! vCPU 1 may walk after its TLBs were flushed and before it sees the break (B2.3.11).

use tests::lab::*;

/// Who walked too late.
pub(crate) const SENTENCE: &str = concat!(
    "model: vCPU 0 stores 0x0060000042000703 at 0x0000000040004000, level 3, for 0xffff900000200000 ",
    "while vCPUs 0 and 1 may still hold 0x0060000041000703 of level 3: break-before-make is needed: ",
    "the output address changes while one side grants write (R_WHZWS, second bullet)",
);

/// NSH before IS.
pub(crate) fn run(machine: MachineDesc) {
    on(machine, |mut lab| {
        start_vcpu_1();
        let slot = lab.map(KVA, A, RW);
        Machine::write_desc(slot, Desc::INVALID);
        Machine::dsb(Dsb::Nsh);
        Machine::tlbi(everything_at(KVA), FlushScope::Broadcast);
        Machine::dsb(Dsb::Ish);
        Machine::write_desc(slot, page(B, RW));
    });
}
