//! What this CPU offers, read from its ID registers.

use aarch64_cpu::registers::{
    ID_AA64ISAR0_EL1, ID_AA64MMFR0_EL1, ID_AA64MMFR1_EL1, ID_AA64MMFR2_EL1, Readable,
};

use crate::features::{Features, IdRegisters};

/// Probes the CPU that executes this.
#[must_use]
pub fn probe() -> Features {
    Features::from_id_registers(&IdRegisters {
        isar0: ID_AA64ISAR0_EL1.get(),
        mmfr0: ID_AA64MMFR0_EL1.get(),
        mmfr1: ID_AA64MMFR1_EL1.get(),
        mmfr2: ID_AA64MMFR2_EL1.get(),
    })
}
