//! A table is replaced by an equal one, and given back before the flush.
//!
//! ```text
//!     KVA -> T: pages -> A        live
//!     store  KVA -> U             U equals T: allowed
//!     free   T                    refused: a walk cache may still lead there
//!     DSB ISHST; TLBI VAAE1IS KVA; DSB ISH
//! ```
//! Equal they are at this moment; the next owner of T writes what it likes (R_GPPYH, R_RVJDB).

use tests::lab::*;

/// Who can still walk what is given back.
pub(crate) const SENTENCE: &str = concat!(
    "model: vCPU 0 gives back 0x0000000040004000, a table of level 3 for 0xffff900000200000 that vCPU 0 can ",
    "still walk",
);

/// The last two steps the wrong way round.
pub(crate) fn run(machine: MachineDesc) {
    on(machine, |mut lab| {
        let slot = lab.slot(KVA, Level::L2);
        let (old, new) = (lab.pages(A, RO), lab.pages(A, RO));
        make(slot, Desc::table(old));
        make(slot, Desc::table(new));
        Machine::released(old, PAGE_SIZE);
        flush(KVA);
    });
}
