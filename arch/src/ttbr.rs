//! TTBR0_EL1 and TTBR1_EL1 (Arm ARM D24.2.192): pure, so that it is tested on a host.
//!
//! ```text
//!  63    48 47                    1  0
//! | ASID   | BADDR                |CnP|
//! ```
//! TCR_EL1.A1 is clear: the ASID of TTBR0_EL1 counts, so root and ASID change in one write (D8.14.1). CnP stays
//! clear: no CPU takes over what another holds.

use crate::addr::{Asid, PhysAddr};

/// BADDR: the level-0 table, 4 KiB aligned.
const BADDR: u64 = 0x0000_ffff_ffff_fffe;
const ASID_SHIFT: u32 = 48;

/// The register value for the level-0 table at `root` and `asid`.
#[must_use]
pub const fn encode(root: PhysAddr, asid: Asid) -> u64 {
    root.raw() & BADDR | (asid.raw() as u64) << ASID_SHIFT
}

/// The level-0 table that a register value names.
#[must_use]
pub const fn root(ttbr: u64) -> PhysAddr {
    PhysAddr::new(ttbr & BADDR)
}

/// The ASID in a register value.
#[must_use]
pub const fn asid(ttbr: u64) -> Asid {
    Asid::new((ttbr >> ASID_SHIFT) as u16)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The ASID stands in bits 63..48, the table below, and bit 0 is clear.
    #[test]
    fn fields() {
        let value = encode(PhysAddr::new(0x0000_8765_4321_0000), Asid::new(0xabcd));
        assert_eq!(value, 0xabcd_8765_4321_0000);
        assert_eq!(encode(PhysAddr::new(0x1000), Asid::NONE), 0x1000);
    }

    /// What was written reads back, whatever CnP is.
    #[test]
    fn reads_back() {
        for (table, tag) in [(0x4000_0000, 1), (0xffff_ffff_f000, 0xffff), (0x1000, 0x8000)] {
            let value = encode(PhysAddr::new(table), Asid::new(tag)) | 1;
            assert_eq!((root(value), asid(value)), (PhysAddr::new(table), Asid::new(tag)));
        }
    }
}
