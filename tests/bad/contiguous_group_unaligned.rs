//! A contiguous group is made of memory that begins in the middle of 64 KiB.
//!
//! ```text
//!     store  KVA + 0 -> A + 1 C   refused: the group would begin at A + 1, no multiple of 16 pages
//! ```
//! A TLB entry for the group takes the low bits of the output address from the access, so it would lead to A + 0
//! (D8.7.1).

use tests::lab::*;

/// Nothing else stands in the group: the member alone is wrong.
pub(crate) const SENTENCE: &str = concat!(
    "model: vCPU 0 stores 0x0070000041001703 at 0x0000000040004000, level 3, for 0xffff900000200000 ",
    "in a contiguous group that begins elsewhere in memory: ",
    "the members of a contiguous group must map one run of memory alike (R_NGLXZ)",
);

/// Makes the first member of a group that is not aligned.
pub(crate) fn run(machine: MachineDesc) {
    on(machine, |mut lab| {
        lab.map(KVA, A.add(PAGE_SIZE), RW | CONTIGUOUS);
    });
}
