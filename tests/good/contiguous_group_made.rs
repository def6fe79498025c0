//! Sixteen invalid entries become a contiguous group, one by one.
//!
//! ```text
//!     store  KVA + n -> A + n C   n = 0 .. 15
//!     DSB ISHST; ISB
//! ```
//! Nothing was held before (I_WZCBG); members that are still invalid do no harm, as nobody uses them yet.

use tests::lab::*;

/// One barrier for sixteen stores.
pub(crate) fn run(machine: MachineDesc) {
    on(machine, |mut lab| {
        let first = lab.slot(KVA, Level::L3);
        make_group(first, A, RW | CONTIGUOUS);
        for n in 0..GROUP {
            let offset = n * PAGE_SIZE;
            assert_eq!(kernel_read(KVA.add(offset)), Ok(A.add(offset)));
        }
    });
}
