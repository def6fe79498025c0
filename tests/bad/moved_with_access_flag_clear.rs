//! A page whose access flag is clear is moved in one store, where hardware sets access flags.
//!
//! ```text
//!     UVA -> A rw, AF = 0         live; TCR_EL1.HA = 1
//!     cas    UVA -> B rw, AF = 0  refused: A may be held by the time that the store is made
//! ```
//! What faults for its access flag is not held, but here it does not fault: hardware sets AF, also for speculative
//! accesses (D8.5.1). R_WHZWS, second bullet.

use tests::lab::*;

/// AF clear proves nothing.
pub(crate) const SENTENCE: &str = concat!(
    "model: vCPU 0 stores 0x0060000042000b43 over 0x0060000041000b43 ",
    "at 0x0000000040004000, level 3, for 0x0000004000600000: break-before-make is needed: ",
    "the output address changes while one side grants write (R_WHZWS, second bullet)",
);

/// Trusts a flag that hardware writes.
pub(crate) fn run(machine: MachineDesc) {
    const OLD: PteFlags = USER_RW.difference(PteFlags::ACCESSED);
    on(with_hw_dirty(machine), |mut lab| {
        let slot = lab.map(UVA, A, OLD);
        // Where hardware was faster the swap fails, and is tried over a page that is mapped anew.
        while Machine::cas_desc(slot, page(A, OLD), page(B, OLD)).is_err() {
            Machine::write_desc(slot, Desc::INVALID);
            flush(UVA);
            make(slot, page(A, OLD));
        }
    });
}
