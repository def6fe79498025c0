//! Poison markers: invalid descriptors that say that the memory which stood there has failed.
//!
//! Where private memory fails its contents are lost. An entry that was left empty would give the next access a page of
//! zeros, as if nothing had happened; a marker makes it an error.
//!
//! ```text
//!  63 .. 59 58      55 54 ............ 8  7  6 .. 2   1   0
//! |    0   |   0010    |       0        | 1 |   0   | 1 | 0 |
//! ```
//! The software bits (58:55) tell it from a migration entry, bit 1 from an empty descriptor. Bit 7 is where a leaf says
//! that it cannot be written: who takes that right from a row of entries leaves a marker as it is. It names no frame,
//! since nobody shall look for it. Linux has swap entries for this, `make_hwpoison_entry` and `PTE_MARKER_POISONED`.

use super::migration::{LOW, SORT};
use super::{Desc, PteFlags};

/// A poison marker, of any level.
const POISONED: u64 = 0b0010 << 55;

impl Desc {
    /// The marker of memory that has failed: the same at every level.
    pub const POISONED: Desc = Desc(POISONED | PteFlags::READ_ONLY.bits() | LOW);

    /// Whether this is [`Self::POISONED`].
    #[must_use]
    #[inline]
    pub const fn is_poisoned(self) -> bool {
        self.raw() & (SORT | 0b11) == POISONED | LOW
    }
}

const _: () = {
    let marker = Desc::POISONED;
    assert!(!marker.is_valid() && marker.is_poisoned() && !marker.is_empty() && !marker.is_migration());
    assert!(!Desc::INVALID.is_poisoned());
    assert!(marker.with_also(PteFlags::READ_ONLY).raw() == marker.raw());
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::PhysAddr;
    use crate::addr::Level;
    use crate::pte::Kind;

    /// A walk ends at a marker at every level; no leaf and no migration entry is one.
    #[test]
    fn a_marker_is_nothing_else() {
        for level in Level::ALL {
            assert_eq!(Desc::POISONED.kind(level), Kind::Invalid);
            assert!(!Desc::POISONED.is_leaf(level) && Desc::POISONED.as_migration(level).is_none());
        }
        for flags in [PteFlags::USER_RO, PteFlags::USER_RW, PteFlags::USER_RX] {
            let pa = PhysAddr::new(0x4000_0000);
            for level in [Level::L1, Level::L2, Level::L3] {
                assert!(!Desc::leaf(pa, level, flags).is_poisoned());
                assert!(!Desc::migration(pa, level, flags).is_poisoned());
            }
        }
    }
}
