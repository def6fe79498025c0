//! A user page is made writable, and nobody flushes.
//!
//! ```text
//!     UVA -> A r-                 live
//!     store  UVA -> A rw; DSB ISHST
//!     user   writes UVA           may fault by the old entry; the handler flushes and lets it try again
//! ```
//! Whoever holds the old entry can do less than it may: a spurious fault, and no harm (R_GPPYH).

use arch::model::with_fault_handler;
use tests::lab::*;

/// The write gets through in the end.
pub(crate) fn run(machine: MachineDesc) {
    on(machine, |mut lab| {
        let slot = lab.map(UVA, A, USER_RO);
        make(slot, page(A, USER_RW));
        let spurious = |va, access, status| {
            assert_eq!((va, access), (UVA, Access::Write));
            assert_eq!(status, FaultStatus::Permission(Level::L3));
            flush_by(everything_at(va), FlushScope::Local);
            true
        };
        with_fault_handler(&spurious, || assert_eq!(user_store(UVA, 1), Ok(())));
    });
}
