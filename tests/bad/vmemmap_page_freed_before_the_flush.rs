//! HVO repoints a tail page of vmemmap as it should, and gives the old page back before the flush.
//!
//! ```text
//!     vmemmap + 1 -> B r-         read-only, flushed, equal to A
//!     store  vmemmap + 1 -> A r-
//!     free   B                    refused: struct pages may still be read from there
//!     DSB ISHST; TLBI VAALE1IS; DSB ISH
//! ```
//! The next owner of B writes it, and a struct page changes that nobody touched (R_GPPYH).

use arch::layout::VMEMMAP_BASE;
use tests::lab::*;

/// By which address.
pub(crate) const SENTENCE: &str = concat!(
    "model: vCPU 0 gives back 4096 bytes at 0x0000000042000000 ",
    "while vCPU 0 may still hold 0x0060000042000783 of level 3 for 0xffff800000001000 (R_GPPYH)",
);

/// The last two steps the wrong way round.
pub(crate) fn run(machine: MachineDesc) {
    const VA: VirtAddr = VMEMMAP_BASE.add(PAGE_SIZE);
    on(machine, |mut lab| {
        let tail = lab.map(VA, B, RW);
        make(tail, page(B, RO));
        flush(VA);
        make(tail, page(A, RO));
        Machine::released(B, PAGE_SIZE);
        flush(VA);
    });
}
