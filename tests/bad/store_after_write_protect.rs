//! A page is made read-only and relied upon before the flush.
//!
//! ```text
//!     UVA -> A rw                 live
//!     store  UVA -> A r-; DSB ISHST
//!     user   writes UVA           may still succeed
//!     DSB ISHST; TLBI VAAE1IS UVA; DSB ISH
//! ```
//! What was decided on A's contents between the store and the flush was decided too early (R_GPPYH).

use tests::lab::*;

/// Said by the test itself, where the write succeeds.
pub(crate) const SENTENCE: &str = "the user has written to a page that was read-only by then";

/// Trusts the descriptor in memory.
pub(crate) fn run(machine: MachineDesc) {
    on(machine, |mut lab| {
        let slot = lab.map(UVA, A, USER_RW);
        make(slot, page(A, USER_RO));
        let written = user_store(UVA, 1);
        flush(UVA);
        assert!(written.is_err(), "{SENTENCE}");
    });
}
