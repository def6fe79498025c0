//! A table is replaced by an equal copy in one store, flushed, and freed.
//!
//! ```text
//!     KVA -> T: pages -> A        live
//!     store  KVA -> U             U equals T
//!     read   KVA                  by T or by U
//!     DSB ISHST; TLBI VAAE1IS KVA; DSB ISH
//!     free   T
//! ```
//! What stands at both output addresses is the same (R_WHZWS, second bullet), and no hardware writes it.

use tests::lab::*;

/// There is no moment at which it is not mapped.
pub(crate) fn run(machine: MachineDesc) {
    on(machine, |mut lab| {
        let slot = lab.slot(KVA, Level::L2);
        let (old, new) = (lab.pages(A, RW), lab.pages(A, RW));
        make(slot, Desc::table(old));
        make(slot, Desc::table(new));
        Machine::kernel_access(KVA.add(PAGE_SIZE), Access::Write);
        flush(KVA);
        Machine::released(old, PAGE_SIZE);
        Machine::kernel_access(KVA.add(PAGE_SIZE), Access::Write);
    });
}
