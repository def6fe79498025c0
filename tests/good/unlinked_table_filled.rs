//! A table is filled before it is linked, and changed after it was unlinked and flushed.
//!
//! ```text
//!     store  T[n] -> A, then -> B         linked nowhere: nobody's business
//!     store  KVA -> T; DSB ISHST; ISB     B is there
//!     store  KVA -> 0; DSB ISHST; TLBI VAAE1IS KVA; DSB ISH
//!     store  T[0] -> A
//! ```
//! Only what a walk can get to is held (R_RVJDB): before the link nothing is, after the flush nothing either.

use tests::lab::*;

/// The same table twice.
pub(crate) fn run(machine: MachineDesc) {
    on(machine, |mut lab| {
        let slot = lab.slot(KVA, Level::L2);
        let table = lab.table();
        Machine::write_desc(table, page(A, RW));
        Machine::write_desc(table, page(B, RW));
        make(slot, Desc::table(table));
        assert_eq!(kernel_read(KVA), Ok(B));
        Machine::write_desc(slot, Desc::INVALID);
        flush(KVA);
        Machine::write_desc(table, page(A, RW));
        make(slot, Desc::table(table));
        assert_eq!(kernel_read(KVA), Ok(A));
    });
}
