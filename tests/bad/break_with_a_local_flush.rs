//! An entry that two vCPUs may hold is broken with a flush of one.
//!
//! ```text
//!     KVA -> A                    live on vCPUs 0 and 1
//!     store  KVA -> 0; DSB ISHST; TLBI VAAE1 KVA; DSB ISH
//!     store  KVA -> B             refused: vCPU 1 was not asked
//! ```
//! TLBI without ..IS is for the TLBs of the vCPU that issues it (D8.14.5).

use tests::lab::*;

/// Whom the flush did not reach.
pub(crate) const SENTENCE: &str = concat!(
    "model: vCPU 0 stores 0x0060000042000703 at 0x0000000040004000, level 3, for 0xffff900000200000 ",
    "while vCPU 1 may still hold 0x0060000041000703 of level 3: break-before-make is needed: ",
    "the output address changes while one side grants write (R_WHZWS, second bullet)",
);

/// Flushes locally.
pub(crate) fn run(machine: MachineDesc) {
    on(machine, |mut lab| {
        start_vcpu_1();
        let slot = lab.map(KVA, A, RW);
        Machine::write_desc(slot, Desc::INVALID);
        flush_by(everything_at(KVA), FlushScope::Local);
        Machine::write_desc(slot, page(B, RW));
    });
}
