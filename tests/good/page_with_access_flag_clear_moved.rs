//! A page whose access flag is clear is moved in one store, where software sets access flags.
//!
//! ```text
//!     UVA -> A rw, AF = 0         every access faults; TCR_EL1.HA = 0
//!     store  UVA -> B rw
//! ```
//! What takes an access flag fault is not held in any TLB (D8.5.1), so nothing is broken and nothing flushed.

use tests::lab::*;

/// No trace of A is left.
pub(crate) fn run(machine: MachineDesc) {
    on(machine, |mut lab| {
        let slot = lab.map(UVA, A, USER_RW.difference(PteFlags::ACCESSED));
        assert_eq!(user_load(UVA), Err(UserFault(UVA)));
        make(slot, page(B, USER_RW));
        assert_eq!(user_store(UVA, 1), Ok(()));
        Machine::released(A, PAGE_SIZE);
    });
}
