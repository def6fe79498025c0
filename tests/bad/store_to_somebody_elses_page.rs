//! A page is unmapped from one address and mapped at another before the flush.
//!
//! ```text
//!     UVA -> A                    live
//!     store  UVA -> 0             unmapped, flush owed
//!     store  KVA -> A             its next owner
//!     user   writes UVA           may still reach A
//! ```
//! The frame has two owners until the flush has completed (R_GPPYH).

use tests::lab::*;

/// Said by the test itself, where the write succeeds.
pub(crate) const SENTENCE: &str = "the user has written to the next owner's page";

/// Hands the page over too early.
pub(crate) fn run(machine: MachineDesc) {
    on(machine, |mut lab| {
        let slot = lab.map(UVA, A, USER_RW);
        make(slot, Desc::INVALID);
        lab.map(KVA, A, RW);
        let _written = user_store(UVA, 1);
        flush(UVA);
        let mut word = [0; 8];
        Machine::read_bytes(A, &mut word);
        assert!(word == [0; 8], "{SENTENCE}");
    });
}
