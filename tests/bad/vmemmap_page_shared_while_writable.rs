//! HVO lets a tail page of vmemmap show the shared page, without the read-only step.
//!
//! ```text
//!     vmemmap + 0 -> B + 0 rw     struct pages of the head
//!     vmemmap + 1 -> B + 1 rw     struct pages of tails, equal to the shared page
//!     store  vmemmap + 1 -> A r-  refused: B + 1 may still be written
//! ```
//! Read-only first, flushed; then compared; then repointed (R_WHZWS, second bullet).

use arch::layout::VMEMMAP_BASE;
use tests::lab::*;

/// The old side grants write.
pub(crate) const SENTENCE: &str = concat!(
    "model: vCPU 0 stores 0x0060000041000783 over 0x0060000042001703 ",
    "at 0x0000000040004008, level 3, for 0xffff800000001000: break-before-make is needed: ",
    "the output address changes while one side grants write (R_WHZWS, second bullet)",
);

/// Two steps in one.
pub(crate) fn run(machine: MachineDesc) {
    on(machine, |mut lab| {
        lab.map(VMEMMAP_BASE, B, RW);
        let tail = lab.map(VMEMMAP_BASE.add(PAGE_SIZE), B.add(PAGE_SIZE), RW);
        Machine::write_desc(tail, page(A, RO));
    });
}
