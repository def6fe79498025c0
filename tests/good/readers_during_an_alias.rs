//! A page is aliased while another vCPU reads it: no read fails, and none sees anything else.
//!
//! ```text
//!     vCPU 0                      vCPU 1
//!     store KVA -> A r-; flush    reads KVA, again and again
//!     store KVA -> B r-; flush    A or B, both hold the same
//!     free A
//! ```
//! What break-before-make cannot do: there is no moment without a translation (R_WHZWS, second bullet).

use std::sync::atomic::{AtomicBool, Ordering};
use tests::lab::*;

/// The reader may not fault.
pub(crate) fn run(machine: MachineDesc) {
    on(machine, |mut lab| {
        start_vcpu_1();
        let slot = lab.map(KVA, A, RW);
        let done = AtomicBool::new(false);
        let aliases = || {
            make(slot, page(A, RO));
            flush(KVA);
            make(slot, page(B, RO));
            flush(KVA);
            Machine::released(A, PAGE_SIZE);
            raise(&done);
        };
        let reads = || {
            while !done.load(Ordering::Acquire) {
                Machine::kernel_access(KVA, Access::Read);
                Machine::relax();
            }
        };
        run_on_cpus(vec![Box::new(aliases), Box::new(reads)]);
    });
}
