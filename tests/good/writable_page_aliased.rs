//! A writable page comes to share an equal copy without ever being broken.
//!
//! ```text
//!     KVA -> A rw                 live, nobody writes it
//!     store  KVA -> A r-; flush   from here on nobody can
//!     A = B?
//!     store  KVA -> B r-; flush   from here on nobody holds A
//!     free   A
//! ```
//! Each store by itself needs a flush and no break: R_GPPYH, then the exception in the second bullet of R_WHZWS.

use tests::lab::*;

/// Two flushes in place of a break: the address can be read at every moment.
pub(crate) fn run(machine: MachineDesc) {
    on(machine, |mut lab| {
        start_vcpu_1();
        let slot = lab.map(KVA, A, RW);
        make(slot, page(A, RO));
        flush(KVA);
        assert!(Machine::equal(A, B, PAGE_SIZE));
        make(slot, page(B, RO));
        Machine::kernel_access(KVA, Access::Read);
        flush(KVA);
        Machine::released(A, PAGE_SIZE);
        assert_eq!(kernel_read(KVA), Ok(B));
    });
}
