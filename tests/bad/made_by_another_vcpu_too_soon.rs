//! One vCPU breaks and flushes an entry, another makes it as soon as it is broken.
//!
//! ```text
//!     vCPU 0                      vCPU 1
//!     store KVA -> 0
//!     DSB; TLBI ..IS; DSB         sees 0
//!                                 store KVA -> B: refused where the flush has not ended
//! ```
//! An invalid descriptor does not say whether it was flushed: the page-table lock is held over all of the sequence.

use std::sync::atomic::AtomicBool;
use tests::lab::*;

/// The page that may still be held.
pub(crate) const SENTENCE: &str = concat!(
    "model: vCPU 1 stores 0x0060000042000703 at 0x0000000040004000, level 3, for 0xffff900000200000 ",
    "while vCPUs 0 and 1 may still hold 0x0060000041000703 of level 3: break-before-make is needed: ",
    "the output address changes while one side grants write (R_WHZWS, second bullet)",
);

/// Hands over between break and flush.
pub(crate) fn run(machine: MachineDesc) {
    on(machine, |mut lab| {
        start_vcpu_1();
        let slot = lab.map(KVA, A, RW);
        let broken = AtomicBool::new(false);
        let breaks = || {
            Machine::write_desc(slot, Desc::INVALID);
            raise(&broken);
            flush(KVA);
        };
        let makes = || {
            wait_for(&broken);
            make(slot, page(B, RW));
        };
        run_on_cpus(vec![Box::new(breaks), Box::new(makes)]);
    });
}
