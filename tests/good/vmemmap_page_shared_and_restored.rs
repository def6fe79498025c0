//! HVO there and back: a vmemmap page is shared, freed, and gets a frame of its own again.
//!
//! ```text
//!     vmemmap + 1 -> B rw         struct pages of tails
//!     store  -> B r-; flush; store -> A r-; flush; free B
//!     copy A to a new frame B
//!     store  -> 0; flush; store -> B rw
//! ```
//! There it is an alias (R_WHZWS, second bullet, does not apply); back the new side grants write: a break.

use arch::layout::VMEMMAP_BASE;
use tests::lab::*;

/// Every step in its place.
pub(crate) fn run(machine: MachineDesc) {
    const VA: VirtAddr = VMEMMAP_BASE.add(PAGE_SIZE);
    on(machine, |mut lab| {
        let tail = lab.map(VA, B, RW);
        make(tail, page(B, RO));
        flush(VA);
        make(tail, page(A, RO));
        flush(VA);
        Machine::released(B, PAGE_SIZE);
        Machine::copy(B, A, PAGE_SIZE);
        Machine::write_desc(tail, Desc::INVALID);
        flush(VA);
        make(tail, page(B, RW));
        Machine::kernel_access(VA, Access::Write);
    });
}
