//! A contiguous group is broken as a whole, and one page of it flushed.
//!
//! ```text
//!     KVA + n -> A + n C          16 pages, live
//!     store  all -> 0; DSB ISHST; TLBI VAAE1IS KVA; DSB ISH
//!     store  KVA + 1 -> B + 1     refused: a TLB need not have held the group as one entry
//! ```
//! The contiguous bit is a hint: each member may have been held by itself (D8.7.1).

use tests::lab::*;

/// The first page that was not named.
pub(crate) const SENTENCE: &str = concat!(
    "model: vCPU 0 stores 0x0060000042001703 at 0x0000000040004008, level 3, for 0xffff900000201000 ",
    "while vCPU 0 may still hold 0x0070000041001703 of level 3: break-before-make is needed: ",
    "the output address changes while one side grants write (R_WHZWS, second bullet)",
);

/// Takes the hint for a promise.
pub(crate) fn run(machine: MachineDesc) {
    on(machine, |mut lab| {
        let first = lab.map_group(KVA, A, RW);
        for n in 0..GROUP {
            Machine::write_desc(first.add(8 * n), Desc::INVALID);
        }
        flush(KVA);
        make(first.add(8), page(B.add(PAGE_SIZE), RW));
    });
}
