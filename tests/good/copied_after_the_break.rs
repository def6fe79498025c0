//! A page is migrated: broken, flushed, copied, and made elsewhere, while another vCPU writes it.
//!
//! ```text
//!     vCPU 0                      vCPU 1
//!     store UVA -> 0; flush       writes UVA: 1, 2, 3, ...; faults for a while
//!     copy A to B
//!     store UVA -> B              reads UVA: the last that it wrote
//! ```
//! When the flush has completed, so has every write by the old translation (D8.14.3); then A can be copied.

use std::sync::atomic::AtomicBool;
use tests::lab::*;

/// Nothing is lost.
pub(crate) fn run(machine: MachineDesc) {
    on(machine, |mut lab| {
        start_vcpu_1();
        let slot = lab.map(UVA, A, USER_RW);
        let moved = AtomicBool::new(false);
        let migrate = || {
            Machine::write_desc(slot, Desc::INVALID);
            flush(UVA);
            Machine::copy(B, A, PAGE_SIZE);
            make(slot, page(B, USER_RW));
            raise(&moved);
        };
        let last = write_until(&moved, migrate);
        assert_eq!(user_load(UVA), Ok(last));
    });
}
