//! A contiguous group is made of memory that is not contiguous.
//!
//! ```text
//!     KVA + 0 -> A + 0 C          made
//!     store  KVA + 1 -> A + 2 C   refused: a page is left out
//! ```
//! One entry for all sixteen would give A + 1. A group that is not alike gives what no member says (R_NGLXZ).

use tests::lab::*;

/// The first member that does not fit.
pub(crate) const SENTENCE: &str = concat!(
    "model: vCPU 0 stores 0x0070000041002703 at 0x0000000040004008, level 3, for 0xffff900000201000 ",
    "while 0x0070000041000703 stands for 0xffff900000200000 in its contiguous group: ",
    "the members of a contiguous group must map one run of memory alike (R_NGLXZ)",
);

/// Makes two members that no single entry can serve.
pub(crate) fn run(machine: MachineDesc) {
    on(machine, |mut lab| {
        let first = lab.map(KVA, A, RW | CONTIGUOUS);
        make(first.add(8), page(A.add(2 * PAGE_SIZE), RW | CONTIGUOUS));
    });
}
