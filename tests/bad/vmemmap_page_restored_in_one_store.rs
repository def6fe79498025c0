//! HVO is undone: a vmemmap page that shows the shared page gets its own again, in one store.
//!
//! ```text
//!     vmemmap + 1 -> A r-         shared
//!     B = copy of A
//!     store  vmemmap + 1 -> B rw  refused: reads may still come from A after a write to B
//! ```
//! The new side grants write, so the contents do not matter (R_WHZWS, second bullet): break, flush, make.

use arch::layout::VMEMMAP_BASE;
use tests::lab::*;

/// The new side grants write.
pub(crate) const SENTENCE: &str = concat!(
    "model: vCPU 0 stores 0x0060000042000703 over 0x0060000041000783 ",
    "at 0x0000000040004008, level 3, for 0xffff800000001000: break-before-make is needed: ",
    "the output address changes while one side grants write (R_WHZWS, second bullet)",
);

/// Restores without a break.
pub(crate) fn run(machine: MachineDesc) {
    on(machine, |mut lab| {
        let tail = lab.map(VMEMMAP_BASE.add(PAGE_SIZE), A, RO);
        Machine::copy(B, A, PAGE_SIZE);
        Machine::write_desc(tail, page(B, RW));
    });
}
