//! A page's rights are changed by compare and swap while hardware sets its access flag.
//!
//! ```text
//!     UVA -> A rw, AF = 0         live; TCR_EL1.HA = 1
//!     user   reads UVA            hardware sets AF
//!     cas    AF = 0 -> r-         fails, and says what stands there: AF = 1
//!     cas    AF = 1 -> r-, AF = 1; flush
//! ```
//! The swap loses against hardware and not the other way round (D8.5.1).

use tests::lab::*;

/// The access is not forgotten.
pub(crate) fn run(machine: MachineDesc) {
    const OLD: PteFlags = USER_RW.difference(PteFlags::ACCESSED);
    on(with_hw_dirty(machine), |mut lab| {
        let slot = lab.map(UVA, A, OLD);
        assert_eq!(user_load(UVA), Ok(0));
        assert_eq!(
            Machine::cas_desc(slot, page(A, OLD), page(A, OLD | PteFlags::READ_ONLY)),
            Err(page(A, USER_RW))
        );
        assert_eq!(Machine::cas_desc(slot, page(A, USER_RW), page(A, USER_RO)), Ok(()));
        flush(UVA);
        assert_eq!(user_store(UVA, 1), Err(UserFault(UVA)));
    });
}
