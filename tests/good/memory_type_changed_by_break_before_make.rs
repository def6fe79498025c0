//! Normal memory becomes device memory by break-before-make.
//!
//! ```text
//!     KVA -> A rw normal          live
//!     store  KVA -> 0; flush
//!     store  KVA -> A rw device, not shareable
//! ```
//! Between the flush and the store nobody has a type for A at this address (R_DDMVT).

use tests::lab::*;

/// Type and shareability at once.
pub(crate) fn run(machine: MachineDesc) {
    on(machine, |mut lab| {
        let slot = lab.map(KVA, A, RW);
        Machine::write_desc(slot, Desc::INVALID);
        flush(KVA);
        make(slot, page(A, PteFlags::KERNEL_DEVICE));
        assert_eq!(kernel_read(KVA), Ok(A));
    });
}
