//! A table is made where fifteen neighbours are one contiguous run of blocks.
//!
//! ```text
//!     KVA + 0 -> B + 0 C, a block       made
//!     store  KVA + 1 -> table           refused: the group may be held as one entry, which covers it
//! ```
//! A group promises to be one translation. A table among its members is not part of any (R_NGLXZ).

use tests::lab::*;

/// The member that has the bit.
pub(crate) const SENTENCE: &str = concat!(
    "model: vCPU 0 stores 0x0000000040004003 at 0x0000000040003008, level 2, for 0xffff900000200000 ",
    "while 0x0070000042000701 stands for 0xffff900000000000 in its contiguous group: ",
    "the members of a contiguous group must map one run of memory alike (R_NGLXZ)",
);

/// Makes a block of a group, and a table beside it.
pub(crate) fn run(machine: MachineDesc) {
    on(machine, |mut lab| {
        let start = VirtAddr::new(KVA.raw() & !((32 << 20) - 1));
        let first = lab.map_block(start, B, RW | CONTIGUOUS);
        make(first.add(8), Desc::table(lab.table()));
    });
}
