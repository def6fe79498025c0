//! A page's rights are changed by a plain store while hardware may set its access flag.
//!
//! ```text
//!     UVA -> A rw, AF = 0         live; TCR_EL1.HA = 1
//!     load                        AF = 0
//!                                 hardware sets AF
//!     store  UVA -> A r-, AF = 0  refused: the access is forgotten
//! ```
//! Hardware updates a descriptor atomically, and so must software (D8.5.1): compare and swap.

use tests::lab::*;

/// What hardware may do meanwhile.
pub(crate) const SENTENCE: &str = concat!(
    "model: vCPU 0 stores 0x0060000041000bc3 over 0x0060000041000b43 ",
    "at 0x0000000040004000, level 3, for 0x0000004000600000: ",
    "hardware may set the access flag at any moment, and a plain store loses it; compare and swap (D8.5)",
);

/// Loads, changes, stores.
pub(crate) fn run(machine: MachineDesc) {
    const OLD: PteFlags = USER_RW.difference(PteFlags::ACCESSED);
    on(with_hw_dirty(machine), |mut lab| {
        let slot = lab.map(UVA, A, OLD);
        Machine::write_desc(slot, page(A, OLD | PteFlags::READ_ONLY));
    });
}
