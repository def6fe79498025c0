//! Bits that hardware ignores are changed in a live descriptor.
//!
//! ```text
//!     KVA -> A rw                 live
//!     store  KVA -> A rw, bits 58:55 = 0b1010
//! ```
//! Nothing that a TLB holds changes (D8.3.2): neither break nor flush.

use tests::lab::*;

/// Marks a live entry, and clears the mark.
pub(crate) fn run(machine: MachineDesc) {
    on(machine, |mut lab| {
        let slot = lab.map(KVA, A, RW);
        let marked = Desc::from_raw(page(A, RW).raw() | 0b1010 << 55);
        Machine::write_desc(slot, marked);
        Machine::kernel_access(KVA, Access::Write);
        Machine::write_desc(slot, page(A, RW));
        assert_eq!(kernel_read(KVA), Ok(A));
    });
}
