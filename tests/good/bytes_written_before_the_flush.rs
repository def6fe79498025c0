//! Bytes are written to an object's page that is unmapped, and not flushed yet: the page stays what it is.
//!
//! ```text
//!     UVA -> A rw                   live; A is a page of an object
//!     store  UVA -> 0               a hole, or the end of a mapping
//!     write  8 bytes to A           a write by a descriptor, or by a device that has the page pinned
//!     flush
//!     free   A
//! ```
//! Whoever still has the translation sees the bytes of the page that he had. Zeroing A, or copying to it, makes it
//! ready for somebody else, and is refused (`tests/bad/page_zeroed_before_the_flush.rs`), as is freeing it.

use tests::lab::*;

/// The write comes between.
pub(crate) fn run(machine: MachineDesc) {
    on(machine, |mut lab| {
        let slot = lab.map(UVA, A, USER_RW);
        assert_eq!(user_store(UVA, 1), Ok(()));
        make(slot, Desc::INVALID);
        Machine::write_bytes(A, &2u64.to_le_bytes());
        flush(UVA);
        assert!(user_load(UVA).is_err());
        Machine::released(A, PAGE_SIZE);
    });
}
