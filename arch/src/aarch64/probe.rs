//! What this CPU offers, read from its ID registers.

use aarch64_cpu::registers::{
    ID_AA64ISAR0_EL1, ID_AA64MMFR0_EL1, ID_AA64MMFR1_EL1, ID_AA64MMFR2_EL1, Readable,
};

use crate::features::{BbmLevel, Features};

/// A field of four bits.
const fn field(register: u64, low_bit: u32) -> u64 {
    register >> low_bit & 0xf
}

/// Probes the CPU that executes this.
#[must_use]
pub fn probe() -> Features {
    let isar0 = ID_AA64ISAR0_EL1.get();
    let mmfr0 = ID_AA64MMFR0_EL1.get();
    let mmfr1 = ID_AA64MMFR1_EL1.get();
    let mmfr2 = ID_AA64MMFR2_EL1.get();
    Features {
        bbm: BbmLevel::from_id_field(field(mmfr2, 52)),
        hw_access_flag: field(mmfr1, 0) >= 1,
        hw_dirty: field(mmfr1, 0) >= 2,
        // ISAR0.TLB: 1 is outer shareable TLBIs alone, 2 adds the range instructions.
        tlbi_range: field(isar0, 56) >= 2,
        ttl: field(mmfr2, 48) >= 1,
        asid_bits: if field(mmfr0, 4) == 2 { 16 } else { 8 },
        pan: field(mmfr1, 20) >= 1,
        e0pd: field(mmfr2, 60) >= 1,
        pa_bits: match field(mmfr0, 0) {
            0 => 32,
            1 => 36,
            2 => 40,
            3 => 42,
            4 => 44,
            _ => 48,
        },
    }
}
