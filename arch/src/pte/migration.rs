//! Migration entries: invalid descriptors that remember what stood there.
//!
//! While a folio moves to another frame, each entry that mapped it is replaced by one of these. Hardware sees bit 0
//! clear, takes a translation fault, holds nothing in a TLB and ignores all other bits (Arm ARM D8.3). Software finds
//! the frame there, and the attributes with which it will be mapped again.
//!
//! ```text
//!  63 62    59 58      55 54 .. 48 47            12 11 .. 2   1   0
//! | 0 |   0   |  0001    | rights | output address | rights | 1 | 0 |
//! ```
//! The software bits (58:55) say what sort of invalid descriptor it is: 0001 is a migration entry, 0010 a
//! [marker](Desc::POISONED), the others are free. Bit 1 is set so that the low byte alone tells it from an empty
//! descriptor. Everything else stands where it stands
//! in the leaf, so a change of rights is the same change of bits in both.

use super::{Desc, PteFlags};
use crate::addr::{Level, PhysAddr};

/// Which sort of invalid descriptor: the software bits.
pub(super) const SORT: u64 = 0xf << 55;
/// A migration entry.
const MIGRATION: u64 = 0b0001 << 55;
/// Bits 1:0 of an invalid descriptor that is not empty.
pub(super) const LOW: u64 = 0b10;

/// What a migration entry remembers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Migration {
    /// The frame that was mapped and is moving.
    pub output: PhysAddr,
    /// The attributes of the leaf that will stand here again, VALID and the type bit aside.
    pub flags: PteFlags,
}

/// VALID and the type bit: those of the leaf's bits that a migration entry does not keep.
const OF_LEAF: PteFlags = PteFlags::VALID.union(PteFlags::TABLE_OR_PAGE);

impl Desc {
    /// The migration entry that stands in `level` for a leaf of that level which maps `pa` with `flags`. `pa` is
    /// aligned to the size of the level.
    #[must_use]
    pub const fn migration(pa: PhysAddr, level: Level, flags: PteFlags) -> Self {
        let leaf = Desc::leaf(pa, level, flags).raw();
        Desc::from_raw(leaf & !(SORT | 0b11) | MIGRATION | LOW)
    }
    /// Whether this is a migration entry, at any level.
    #[must_use]
    #[inline]
    pub const fn is_migration(self) -> bool {
        self.raw() & (SORT | 0b11) == MIGRATION | LOW
    }
    /// What the migration entry remembers; `None` where this is none. `level` is that of its table.
    #[must_use]
    #[inline]
    pub const fn as_migration(self, level: Level) -> Option<Migration> {
        if !self.is_migration() {
            return None;
        }
        let leaf = Desc::from_raw(self.raw() & !(SORT | 0b11) | leaf_bits(level));
        Some(Migration { output: leaf.output(level), flags: leaf.flags(level).difference(OF_LEAF) })
    }
    /// Whether nothing stands here: invalid, and neither a migration entry nor a marker.
    #[must_use]
    #[inline]
    pub const fn is_empty(self) -> bool {
        self.raw() & 0b11 == 0
    }
}

/// Bits 1:0 of a leaf of `level`.
const fn leaf_bits(level: Level) -> u64 {
    if matches!(level, Level::L3) { 0b11 } else { 0b01 }
}

impl Migration {
    /// The leaf of `level` that maps the frame again.
    #[must_use]
    pub const fn leaf(self, level: Level) -> Desc {
        Desc::leaf(self.output, level, self.flags)
    }
    /// The migration entry of `level` that remembers this.
    #[must_use]
    pub const fn desc(self, level: Level) -> Desc {
        Desc::migration(self.output, level, self.flags)
    }
    /// The same of another frame.
    #[must_use]
    pub const fn at(self, output: PhysAddr) -> Self {
        Migration { output, flags: self.flags }
    }
    /// The same with other rights.
    #[must_use]
    pub const fn with_flags(self, flags: PteFlags) -> Self {
        Migration { output: self.output, flags: flags.difference(OF_LEAF) }
    }
}

/// Every leaf comes back as it was, and what hardware looks at is clear.
const _: () = {
    let pa = PhysAddr::new(0x7fff_ffe0_0000);
    let levels = [Level::L1, Level::L2, Level::L3];
    let rights = [PteFlags::USER_RO, PteFlags::USER_RW, PteFlags::USER_RX];
    let mut n = 0;
    while n < levels.len() * rights.len() {
        let (level, flags) = (levels[n % levels.len()], rights[n / levels.len()]);
        let pa = PhysAddr::new(pa.raw() & !(level.entry_bytes() - 1));
        let leaf = Desc::leaf(pa, level, flags);
        let entry = Desc::migration(pa, level, flags);
        assert!(!entry.is_valid() && entry.is_migration() && !entry.is_empty());
        assert!(!leaf.is_migration() && !Desc::INVALID.is_migration() && Desc::INVALID.is_empty());
        match entry.as_migration(level) {
            Some(migration) => {
                assert!(migration.leaf(level).raw() == leaf.raw());
                assert!(migration.desc(level).raw() == entry.raw());
            }
            None => panic!("a migration entry reads back"),
        }
        n += 1;
    }
    assert!(Desc::table(pa).as_migration(Level::L2).is_none());
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pte::Kind;

    /// A walk ends at a migration entry at every level, whatever rights it keeps.
    #[test]
    fn hardware_sees_an_invalid_descriptor() {
        for (level, pa) in [(Level::L1, 0x4000_0000), (Level::L2, 0x4020_0000), (Level::L3, 0x4020_1000)] {
            let entry = Desc::migration(PhysAddr::new(pa), level, PteFlags::USER_RW);
            assert_eq!(entry.kind(level), Kind::Invalid);
            assert!(!entry.is_leaf(level));
        }
    }

    /// Rights change in a migration entry as they change in a leaf.
    #[test]
    fn rights_change_in_place() {
        let pa = PhysAddr::new(0x4020_0000);
        let migration = Desc::migration(pa, Level::L2, PteFlags::USER_RW).as_migration(Level::L2).unwrap();
        let tight = migration.with_flags(PteFlags::USER_RO).desc(Level::L2);
        assert_eq!(
            tight.as_migration(Level::L2).unwrap().leaf(Level::L2),
            Desc::leaf(pa, Level::L2, PteFlags::USER_RO)
        );
    }
}
