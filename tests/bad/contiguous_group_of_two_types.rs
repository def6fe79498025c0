//! A contiguous group is made of normal and device memory.
//!
//! ```text
//!     KVA + 0 -> A + 0 C normal        made
//!     store  KVA + 1 -> A + 1 C device refused
//! ```
//! One entry has one memory type; which, nobody can say (R_NGLXZ).

use tests::lab::*;

/// The first member that does not fit.
pub(crate) const SENTENCE: &str = concat!(
    "model: vCPU 0 stores 0x0070000041001707 at 0x0000000040004008, level 3, for 0xffff900000201000 ",
    "while 0x0070000041000703 stands for 0xffff900000200000 in its contiguous group: ",
    "the members of a contiguous group must map one run of memory alike (R_NGLXZ)",
);

/// Makes two members that no single entry can serve.
pub(crate) fn run(machine: MachineDesc) {
    on(machine, |mut lab| {
        let first = lab.map(KVA, A, RW | CONTIGUOUS);
        make(first.add(8), page(A.add(PAGE_SIZE), RW | CONTIGUOUS | PteFlags::DEVICE));
    });
}
