//! A read-only page is moved to an equal copy in one store.
//!
//! ```text
//!     KVA -> A r-                 live; A = B
//!     store  KVA -> B r-          allowed: whichever is held, a read gets the same
//!     DSB ISHST; TLBI VAALE1IS KVA; DSB ISH
//! ```
//! The second bullet of R_WHZWS asks that one side grants write, or that the bytes differ: neither is so.

use tests::lab::*;

/// Reads see one or the other until the flush, then the new one.
pub(crate) fn run(machine: MachineDesc) {
    on(machine, |mut lab| {
        Machine::write_bytes(A, &[7; 64]);
        Machine::copy(B, A, PAGE_SIZE);
        let slot = lab.map(KVA, A, RO);
        make(slot, page(B, RO));
        assert!([Ok(A), Ok(B)].contains(&kernel_read(KVA)));
        flush(KVA);
        assert_eq!(kernel_read(KVA), Ok(B));
        Machine::released(A, PAGE_SIZE);
    });
}
