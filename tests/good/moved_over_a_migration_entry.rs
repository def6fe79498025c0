//! A page moves by way of a migration entry, whose rights change meanwhile.
//!
//! ```text
//!     UVA -> A rw                   live on both vCPUs
//!     store  UVA -> moving(A rw); DSB ISHST; TLBI; DSB ISH      accesses fault
//!     copy   A to B
//!     store  UVA -> moving(A r-)    nothing is owed: no TLB holds an invalid descriptor (I_WZCBG)
//!     store  UVA -> B r-            reads see what was written
//! ```

use tests::lab::*;

/// What migration stands on.
pub(crate) fn run(machine: MachineDesc) {
    on(machine, |mut lab| {
        start_vcpu_1();
        let slot = lab.map(UVA, A, USER_RW);
        on_vcpu_1(|| assert_eq!(user_store(UVA, 7), Ok(())));
        Machine::write_desc(slot, Desc::migration(A, Level::L3, USER_RW));
        flush(UVA);
        on_vcpu_1(|| assert_eq!(user_load(UVA), Err(UserFault(UVA))));
        Machine::copy(B, A, PAGE_SIZE);
        Machine::write_desc(slot, Desc::migration(A, Level::L3, USER_RO));
        make(slot, page(B, USER_RO));
        on_vcpu_1(|| assert_eq!(user_load(UVA), Ok(7)));
    });
}
