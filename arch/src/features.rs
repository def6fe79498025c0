//! What a CPU offers to the memory manager: probed from the ID registers on the machine, injected on
//! the model. The kernel takes the minimum over all CPUs, as an entry made on one is used by all.

use core::fmt;

/// FEAT_BBM: how block and table size may be changed (ID_AA64MMFR2_EL1.BBM, Arm ARM D8.16; `Level3` is
/// the 2025 extension that excludes conflict aborts).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash)]
#[repr(u8)]
pub enum BbmLevel {
    /// Break-before-make is the only way.
    Level0 = 0,
    /// The nT bit of block descriptors may be used.
    Level1 = 1,
    /// Size may be changed directly; a conflict abort is possible until the final TLBI.
    Level2 = 2,
    /// As level 2, never a conflict abort.
    Level3 = 3,
}

impl BbmLevel {
    /// The level that the 4-bit ID field announces; values above 3 mean at least 3.
    #[must_use]
    pub const fn from_id_field(field: u64) -> Self {
        match field & 0xf {
            0 => BbmLevel::Level0,
            1 => BbmLevel::Level1,
            2 => BbmLevel::Level2,
            _ => BbmLevel::Level3,
        }
    }
}

/// The ID registers that say what a CPU offers (Arm ARM D24.2).
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct IdRegisters {
    /// ID_AA64ISAR0_EL1.
    pub isar0: u64,
    /// ID_AA64MMFR0_EL1.
    pub mmfr0: u64,
    /// ID_AA64MMFR1_EL1.
    pub mmfr1: u64,
    /// ID_AA64MMFR2_EL1.
    pub mmfr2: u64,
}

/// A field of four bits.
const fn field(register: u64, low_bit: u32) -> u64 {
    register >> low_bit & 0xf
}

/// The features of the machine, the same on all its CPUs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Features {
    /// FEAT_BBM level.
    pub bbm: BbmLevel,
    /// ID_AA64MMFR1_EL1.HAFDBS >= 1: hardware sets the access flag (where TCR.HA enables it).
    pub hw_access_flag: bool,
    /// ID_AA64MMFR1_EL1.HAFDBS >= 2: hardware clears AP\[2\] of DBM entries (where TCR.HD enables it).
    pub hw_dirty: bool,
    /// FEAT_TLBIRANGE: TLBI by range.
    pub tlbi_range: bool,
    /// FEAT_TTL: level hints in TLBI operands.
    pub ttl: bool,
    /// Width of an ASID in bits: 8 or 16.
    pub asid_bits: u8,
    /// FEAT_PAN: privileged accesses to user memory fault unless made unprivileged.
    pub pan: bool,
    /// FEAT_E0PD: EL0 accesses to the kernel half fault in constant time.
    pub e0pd: bool,
    /// Width of a physical address in bits (32..=48 here; more is not used).
    pub pa_bits: u8,
}

impl Features {
    /// What every Armv8.0 CPU has.
    pub const BASE: Features = Features {
        bbm: BbmLevel::Level0,
        hw_access_flag: false,
        hw_dirty: false,
        tlbi_range: false,
        ttl: false,
        asid_bits: 8,
        pan: false,
        e0pd: false,
        pa_bits: 40,
    };

    /// What a CPU with these registers offers.
    #[must_use]
    pub const fn from_id_registers(ids: &IdRegisters) -> Features {
        Features {
            bbm: BbmLevel::from_id_field(field(ids.mmfr2, 52)),
            hw_access_flag: field(ids.mmfr1, 0) >= 1,
            hw_dirty: field(ids.mmfr1, 0) >= 2,
            // ISAR0.TLB: 1 is outer shareable TLBIs alone, 2 adds the range instructions.
            tlbi_range: field(ids.isar0, 56) >= 2,
            ttl: field(ids.mmfr2, 48) >= 1,
            asid_bits: if field(ids.mmfr0, 4) == 2 { 16 } else { 8 },
            pan: field(ids.mmfr1, 20) >= 1,
            e0pd: field(ids.mmfr2, 60) >= 1,
            pa_bits: match field(ids.mmfr0, 0) {
                0 => 32,
                1 => 36,
                2 => 40,
                3 => 42,
                4 => 44,
                _ => 48,
            },
        }
    }

    /// What both machines have: the set that a system of unlike CPUs may rely on.
    #[must_use]
    pub fn meet(self, other: Features) -> Features {
        Features {
            bbm: self.bbm.min(other.bbm),
            hw_access_flag: self.hw_access_flag && other.hw_access_flag,
            hw_dirty: self.hw_dirty && other.hw_dirty,
            tlbi_range: self.tlbi_range && other.tlbi_range,
            ttl: self.ttl && other.ttl,
            asid_bits: self.asid_bits.min(other.asid_bits),
            pan: self.pan && other.pan,
            e0pd: self.e0pd && other.e0pd,
            pa_bits: self.pa_bits.min(other.pa_bits),
        }
    }
}

impl fmt::Display for Features {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BBM{} ASID{} PA{}", self.bbm as u8, self.asid_bits, self.pa_bits)?;
        for (has, name) in [
            (self.hw_access_flag, "HA"),
            (self.hw_dirty, "HD"),
            (self.tlbi_range, "TLBIRANGE"),
            (self.ttl, "TTL"),
            (self.pan, "PAN"),
            (self.e0pd, "E0PD"),
        ] {
            if has {
                write!(f, " {name}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A Cortex-A72 offers wide ASIDs and 44 bits of address beyond the base.
    #[test]
    fn registers_of_a_cortex_a72() {
        let ids = IdRegisters { isar0: 0x1_1120, mmfr0: 0x1124, mmfr1: 0, mmfr2: 0 };
        assert_eq!(
            Features::from_id_registers(&ids),
            Features { asid_bits: 16, pa_bits: 44, ..Features::BASE }
        );
    }

    /// Each field stands for one feature, and for nothing below its first value.
    #[test]
    fn each_field_is_one_feature() {
        let none = IdRegisters { mmfr0: 2, ..IdRegisters::default() };
        let base = Features::BASE;
        let of = |change: fn(&mut IdRegisters)| {
            let mut ids = none;
            change(&mut ids);
            Features::from_id_registers(&ids)
        };
        assert_eq!(of(|_| ()), base);
        assert_eq!(of(|ids| ids.isar0 |= 1 << 56), base, "outer shareable alone");
        assert_eq!(of(|ids| ids.isar0 |= 2 << 56), Features { tlbi_range: true, ..base });
        assert_eq!(of(|ids| ids.mmfr1 |= 1), Features { hw_access_flag: true, ..base });
        assert_eq!(of(|ids| ids.mmfr1 |= 2), Features { hw_access_flag: true, hw_dirty: true, ..base });
        assert_eq!(of(|ids| ids.mmfr1 |= 3 << 20), Features { pan: true, ..base });
        assert_eq!(of(|ids| ids.mmfr2 |= 1 << 48), Features { ttl: true, ..base });
        assert_eq!(of(|ids| ids.mmfr2 |= 1 << 52), Features { bbm: BbmLevel::Level1, ..base });
        assert_eq!(of(|ids| ids.mmfr2 |= 2 << 52), Features { bbm: BbmLevel::Level2, ..base });
        assert_eq!(of(|ids| ids.mmfr2 |= 15 << 52), Features { bbm: BbmLevel::Level3, ..base });
        assert_eq!(of(|ids| ids.mmfr2 |= 1 << 60), Features { e0pd: true, ..base });
        assert_eq!(of(|ids| ids.mmfr0 |= 2 << 4), Features { asid_bits: 16, ..base });
        assert_eq!(of(|ids| ids.mmfr0 |= 6), Features { pa_bits: 48, ..base }, "52 bits are not used");
    }

    /// The meet of two feature sets offers nothing that one side lacks.
    #[test]
    fn meet_is_a_lower_bound() {
        let rich = Features {
            bbm: BbmLevel::Level2,
            hw_access_flag: true,
            hw_dirty: true,
            tlbi_range: true,
            ttl: true,
            asid_bits: 16,
            pan: true,
            e0pd: true,
            pa_bits: 48,
        };
        assert_eq!(rich.meet(Features::BASE), Features::BASE);
        assert_eq!(rich.meet(rich), rich);
    }
}
