//! A kernel block is split live at FEAT_BBM level 3, and used before the flush.
//!
//! ```text
//!     KVA .. +2M -> A             block, live
//!     store  KVA -> T             512 equal pages
//!     write  KVA                  block or page: both say A
//!     DSB ISHST; TLBI VAAE1IS KVA; DSB ISH
//! ```
//! Level 3 is level 2 without conflict aborts: the only one at which the kernel may split what it stands on.

use tests::lab::*;

/// There is no moment at which it is not mapped.
pub(crate) fn run(machine: MachineDesc) {
    on(with_bbm(machine, BbmLevel::Level3), |mut lab| {
        let slot = lab.map_block(KVA, A, RW);
        let pages = lab.pages(A, RW);
        make(slot, Desc::table(pages));
        Machine::kernel_access(KVA, Access::Write);
        flush(KVA);
        Machine::kernel_access(KVA, Access::Write);
    });
}
