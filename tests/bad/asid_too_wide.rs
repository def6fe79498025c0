//! An ASID of nine bits is installed on a machine that has eight.
//!
//! ```text
//!     ID_AA64MMFR0_EL1.ASIDBits = 0        8 bits
//!     TTBR0 = root, ASID 256               refused: hardware reads ASID 0
//! ```
//! The upper bits of TTBR0_EL1.ASID are RES0 there: two spaces share what is held (D24.2, TTBR0_EL1).

use tests::lab::*;

/// The width that there is.
pub(crate) const SENTENCE: &str = "model: ASID 256 has more than 8 bits";

/// One ASID too many.
pub(crate) fn run(machine: MachineDesc) {
    let features = Features { asid_bits: 8, ..machine.features };
    on(MachineDesc { features, ..machine }, |mut lab| {
        Machine::set_user_root(Some((lab.table(), Asid::new(256))));
    });
}
