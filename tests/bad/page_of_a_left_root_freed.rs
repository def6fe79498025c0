//! A page of a root that nobody runs is unmapped and given back; the root runs again before the flush.
//!
//! ```text
//!     TTBR0 = root, ASID 1        UVA -> A
//!     TTBR0 = none
//!     store  UVA -> 0; free A     flush owed
//!     TTBR0 = root, ASID 1        A may be used again by UVA
//!     DSB ISHST; TLBI VAAE1IS UVA; DSB ISH
//! ```
//! What is held for an ASID sleeps with it, and wakes with it (D8.16.4).

use tests::lab::*;

/// By which address.
pub(crate) const SENTENCE: &str = concat!(
    "model: vCPU 0 installs root 0x0000000040001000 under ASID 1 while it may still hold 0x0060000041000f43 ",
    "of level 3 for 0x0000004000600000, which leads to memory that was given back (R_GPPYH)",
);

/// Flushes after the switch back, not before.
pub(crate) fn run(machine: MachineDesc) {
    on(machine, |mut lab| {
        let slot = lab.map(UVA, A, USER_RW);
        Machine::set_user_root(None);
        make(slot, Desc::INVALID);
        Machine::released(A, PAGE_SIZE);
        Machine::set_user_root(Some((USER_ROOT, ASID)));
        flush(UVA);
    });
}
