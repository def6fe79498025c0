//! A vCPU installs a root after an entry was broken and before that is visible; its TLBs are not flushed.
//!
//! ```text
//!     vCPU 0                      vCPU 1
//!     store UVA -> 0
//!                                 TTBR0 = root: walks, and still sees A
//!     DSB ISHST; TLBI VAAE1 UVA (local); DSB ISH
//!     store UVA -> B              refused: vCPU 1 may hold A
//! ```
//! A store is in the past of other walkers when the DSB after it has completed (D8.2.3), not before.

use tests::lab::*;

/// Who came in between.
pub(crate) const SENTENCE: &str = concat!(
    "model: vCPU 0 stores 0x0060000042000f43 at 0x0000000040004000, level 3, for 0x0000004000600000 ",
    "while vCPU 1 may still hold 0x0060000041000f43 of level 3: break-before-make is needed: ",
    "the output address changes while one side grants write (R_WHZWS, second bullet)",
);

/// Flushes for those who ran the root when it was broken.
pub(crate) fn run(machine: MachineDesc) {
    on(machine, |mut lab| {
        let slot = lab.map(UVA, A, USER_RW);
        Machine::write_desc(slot, Desc::INVALID);
        start_vcpu_1();
        flush_by(everything_at(UVA), FlushScope::Local);
        Machine::write_desc(slot, page(B, USER_RW));
    });
}
