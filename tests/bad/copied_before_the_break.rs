//! A page is migrated: copied, then broken, flushed, and made elsewhere, while another vCPU writes it.
//!
//! ```text
//!     vCPU 0                      vCPU 1
//!     copy A to B                 writes UVA: 1, 2, 3, ...
//!     store UVA -> 0; flush
//!     store UVA -> B              reads UVA: not the last that it wrote
//! ```
//! A write between the copy and the end of the flush goes to A, and A is gone.

use std::sync::atomic::AtomicBool;
use tests::lab::*;

/// Said by the test itself, where the two differ.
pub(crate) const SENTENCE: &str = "a write was lost by the migration";

/// Copies before the break.
pub(crate) fn run(machine: MachineDesc) {
    on(machine, |mut lab| {
        start_vcpu_1();
        let slot = lab.map(UVA, A, USER_RW);
        let moved = AtomicBool::new(false);
        let migrate = || {
            Machine::copy(B, A, PAGE_SIZE);
            Machine::write_desc(slot, Desc::INVALID);
            flush(UVA);
            make(slot, page(B, USER_RW));
            raise(&moved);
        };
        let last = write_until(&moved, migrate);
        assert!(user_load(UVA) == Ok(last), "{SENTENCE}");
    });
}
