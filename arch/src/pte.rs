//! VMSAv8-64 stage-1 descriptors, 4K granule, 48-bit addresses (Arm ARM D8.3). Pure: nothing here
//! touches memory.
//!
//! ```text
//!  63      55 54  53  52   51  50  48 47            12 11 10 9 8 7 6  5 4   2 1 0
//! | software |UXN|PXN|Cont|DBM| res0 | output address |nG|AF|SH|AP |NS|AttrIdx|T|V|
//! ```
//! Bit 16 of a block descriptor is nT (FEAT_BBM level 1). The T bit tells a table or page (1) from a
//! block (0). Of the software bits of a leaf, 56 is in use: [`PteFlags::SPECIAL`].

use core::fmt;

use bitflags::bitflags;

use crate::addr::{Level, PhysAddr};

mod marker;
mod migration;

pub use migration::Migration;

bitflags! {
    /// The attribute bits of a leaf descriptor; everything but the output address.
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
    pub struct PteFlags: u64 {
        /// The descriptor is valid.
        const VALID = 1 << 0;
        /// Table (levels 0 to 2) or page (level 3); clear in a block.
        const TABLE_OR_PAGE = 1 << 1;
        /// Memory attribute index, low bit: set for device memory ([`MAIR`] entry 1).
        const DEVICE = 1 << 2;
        /// Memory attribute index, middle bit; not used.
        const ATTR_1 = 1 << 3;
        /// Memory attribute index, high bit; not used.
        const ATTR_2 = 1 << 4;
        /// AP\[1\]: EL0 may access.
        const USER = 1 << 6;
        /// AP\[2\]: no writes.
        const READ_ONLY = 1 << 7;
        /// SH\[0\].
        const SH_0 = 1 << 8;
        /// SH\[1\].
        const SH_1 = 1 << 9;
        /// Access flag.
        const ACCESSED = 1 << 10;
        /// Not global: the translation is tagged with an ASID.
        const NOT_GLOBAL = 1 << 11;
        /// nT of a block descriptor (FEAT_BBM level 1).
        const NT = 1 << 16;
        /// Dirty bit modifier: where hardware manages dirty state, a write clears [`Self::READ_ONLY`].
        const DBM = 1 << 51;
        /// One of a contiguous group.
        const CONTIGUOUS = 1 << 52;
        /// EL1 may not execute.
        const PXN = 1 << 53;
        /// EL0 may not execute.
        const UXN = 1 << 54;
        /// Software: whoever meets this leaf must not touch the struct page of what it maps, which is not counted for
        /// it, or does not exist. Hardware ignores bits 58 to 55 of a leaf (D8.3.2); Linux's `PTE_SPECIAL` is the same
        /// bit.
        const SPECIAL = 1 << 56;
    }
}

impl PteFlags {
    /// Inner shareable.
    pub const INNER_SHAREABLE: PteFlags = PteFlags::SH_0.union(PteFlags::SH_1);
    /// The shareability field.
    pub const SHAREABILITY: PteFlags = PteFlags::SH_0.union(PteFlags::SH_1);
    /// The memory attribute index field.
    pub const ATTR_INDEX: PteFlags = PteFlags::DEVICE.union(PteFlags::ATTR_1).union(PteFlags::ATTR_2);
    const NORMAL: PteFlags = PteFlags::INNER_SHAREABLE.union(PteFlags::ACCESSED);
    const NO_EXEC: PteFlags = PteFlags::PXN.union(PteFlags::UXN);

    /// Kernel data: read and write, never executed.
    pub const KERNEL_RW: PteFlags = Self::NORMAL.union(Self::NO_EXEC);
    /// Kernel read-only data.
    pub const KERNEL_RO: PteFlags = Self::KERNEL_RW.union(Self::READ_ONLY);
    /// Kernel text: read and execute at EL1.
    pub const KERNEL_RX: PteFlags = Self::NORMAL.union(Self::READ_ONLY).union(Self::UXN);
    /// Device registers of the kernel.
    pub const KERNEL_DEVICE: PteFlags = Self::ACCESSED.union(Self::NO_EXEC).union(Self::DEVICE);

    /// User memory, read only.
    pub const USER_RO: PteFlags =
        Self::NORMAL.union(Self::NO_EXEC).union(Self::READ_ONLY).union(Self::USER).union(Self::NOT_GLOBAL);
    /// User memory, read and write.
    pub const USER_RW: PteFlags = Self::USER_RO.difference(Self::READ_ONLY);
    /// User text: read and execute at EL0.
    pub const USER_RX: PteFlags = Self::USER_RO.difference(Self::UXN);
}

/// MAIR_EL1: entry 0 is normal write-back memory, entry 1 device nGnRE.
pub const MAIR: u64 = 0x04ff;

/// Output address bits of any 48-bit descriptor.
const ADDRESS: u64 = 0x0000_ffff_ffff_f000;

/// A descriptor as it stands in memory: 64 bits whose meaning depends on the level.
#[derive(Clone, Copy, PartialEq, Eq, Default, Hash)]
#[repr(transparent)]
pub struct Desc(u64);

/// What a descriptor is at its level.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Translation fault. Also a block pattern where the level has no blocks.
    Invalid,
    /// Points to a table of the next level.
    Table,
    /// A leaf at level 1 or 2.
    Block,
    /// A leaf at level 3.
    Page,
}

impl Desc {
    /// The all-zero descriptor: translation fault.
    pub const INVALID: Desc = Desc(0);

    /// The descriptor with these bits.
    #[must_use]
    #[inline]
    pub const fn from_raw(raw: u64) -> Self {
        Desc(raw)
    }
    /// The bits.
    #[must_use]
    #[inline]
    pub const fn raw(self) -> u64 {
        self.0
    }
    /// A leaf of `level` (L1 and L2: block, L3: page) that maps `pa`. Valid; `flags` gives the rest.
    /// `pa` must be aligned to the size of the level.
    #[must_use]
    #[inline]
    pub const fn leaf(pa: PhysAddr, level: Level, flags: PteFlags) -> Self {
        assert!(!matches!(level, Level::L0), "level 0 has no leaves");
        assert!(pa.is_aligned(level.entry_bytes()), "an output address has the alignment of its level");
        let kind = if matches!(level, Level::L3) { 0b11 } else { 0b01 };
        Desc(pa.raw() | (flags.bits() & !0b11) | kind)
    }
    /// A table descriptor for the next-level table at `table` (4 KiB aligned). No hierarchical
    /// restrictions: the leaves alone decide.
    #[must_use]
    #[inline]
    pub const fn table(table: PhysAddr) -> Self {
        assert!(table.is_aligned(crate::addr::PAGE_SIZE), "a table is page aligned");
        Desc(table.raw() | 0b11)
    }
    /// What the descriptor is at `level`.
    #[must_use]
    #[inline]
    pub const fn kind(self, level: Level) -> Kind {
        match (level, self.0 & 0b11) {
            (Level::L0 | Level::L1 | Level::L2, 0b11) => Kind::Table,
            (Level::L1 | Level::L2, 0b01) => Kind::Block,
            (Level::L3, 0b11) => Kind::Page,
            _ => Kind::Invalid,
        }
    }
    /// Whether the valid bit is set.
    #[must_use]
    #[inline]
    pub const fn is_valid(self) -> bool {
        self.0 & 1 != 0
    }
    /// Whether this is a valid block or page at `level`.
    #[must_use]
    #[inline]
    pub const fn is_leaf(self, level: Level) -> bool {
        match level {
            Level::L0 => false,
            Level::L1 | Level::L2 => self.0 & 0b11 == 0b01,
            Level::L3 => self.0 & 0b11 == 0b11,
        }
    }
    /// The output address of a leaf of `level`, or the address of the next table.
    #[must_use]
    #[inline]
    pub const fn output(self, level: Level) -> PhysAddr {
        match self.kind(level) {
            Kind::Block => PhysAddr::new(self.0 & ADDRESS & !(level.entry_bytes() - 1)),
            _ => PhysAddr::new(self.0 & ADDRESS),
        }
    }
    /// The attribute bits of a leaf (nT only where the level has blocks).
    #[must_use]
    #[inline]
    pub const fn flags(self, level: Level) -> PteFlags {
        let flags = PteFlags::from_bits_truncate(self.0);
        match level {
            Level::L1 | Level::L2 => flags,
            Level::L0 | Level::L3 => flags.difference(PteFlags::NT),
        }
    }
    /// The same leaf with other attribute bits; valid bit, type and output address stay.
    #[must_use]
    #[inline]
    pub const fn with_flags(self, level: Level, flags: PteFlags) -> Self {
        debug_assert!(self.is_leaf(level));
        // Between nT and the output address of a block there are zeros.
        let kept = match level {
            Level::L3 => ADDRESS | 0b11,
            _ => ADDRESS & !PteFlags::NT.bits() | 0b11,
        };
        Desc(self.0 & kept | (flags.bits() & !0b11))
    }
    /// The same leaf with these attribute bits set too: with [`PteFlags::READ_ONLY`], without the right to write.
    #[must_use]
    #[inline]
    pub const fn with_also(self, flags: PteFlags) -> Self {
        Desc(self.0 | flags.bits())
    }
    /// Whether a store through this leaf succeeds, now or once hardware has set it dirty (AP\[2\] clear,
    /// or DBM set where hardware manages dirty state).
    #[must_use]
    #[inline]
    pub const fn grants_write(self, hw_dirty: HwDirty) -> bool {
        let dbm = self.0 & PteFlags::DBM.bits() != 0;
        self.0 & PteFlags::READ_ONLY.bits() == 0 || (dbm && matches!(hw_dirty, HwDirty::Enabled))
    }
    /// Whether this leaf is marked as [`PteFlags::SPECIAL`].
    #[must_use]
    #[inline]
    pub const fn is_special(self) -> bool {
        self.0 & PteFlags::SPECIAL.bits() != 0
    }
    /// Whether EL1 may execute through this leaf.
    #[must_use]
    #[inline]
    pub const fn kernel_exec(self) -> bool {
        self.0 & PteFlags::PXN.bits() == 0
    }
    /// Whether EL0 may execute through this leaf.
    #[must_use]
    #[inline]
    pub const fn user_exec(self) -> bool {
        self.0 & PteFlags::UXN.bits() == 0
    }
}

/// Whether hardware manages dirty state (TCR_EL1.HD).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum HwDirty {
    /// TCR.HD is 0, or the CPU has no FEAT_HAFDBS dirty management: DBM means nothing.
    Disabled,
    /// A write through a descriptor with DBM makes it writable.
    Enabled,
}

impl fmt::Debug for Desc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Desc({:#018x})", self.0)
    }
}

impl fmt::Display for Desc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#018x}", self.0)
    }
}

/// A leaf's rights in words: `rw`/`r-`, `x` for each level that may execute, memory type, tags.
#[derive(Clone, Copy, Debug)]
pub struct Rights(pub PteFlags);

impl fmt::Display for Rights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let flag = |bit, set, clear| if self.0.contains(bit) { set } else { clear };
        write!(
            f,
            "{}{}{} {} {}{}{}{}{}",
            flag(PteFlags::READ_ONLY, "r-", "rw"),
            flag(PteFlags::PXN, "", " x@EL1"),
            flag(PteFlags::UXN, "", " x@EL0"),
            flag(PteFlags::USER, "user", "kernel"),
            flag(PteFlags::DEVICE, "device", "normal"),
            flag(PteFlags::NOT_GLOBAL, " nG", " global"),
            flag(PteFlags::ACCESSED, " AF", ""),
            flag(PteFlags::CONTIGUOUS, " contiguous", ""),
            flag(PteFlags::DBM, " DBM", ""),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PA: PhysAddr = PhysAddr::new(0x4020_0000);

    /// The two low bits mean different things at different levels.
    #[test]
    fn kind_depends_on_the_level() {
        let block = Desc::leaf(PA, Level::L2, PteFlags::KERNEL_RW);
        assert_eq!(block.kind(Level::L2), Kind::Block);
        assert_eq!(block.kind(Level::L3), Kind::Invalid);
        assert_eq!(block.kind(Level::L0), Kind::Invalid);
        let page = Desc::leaf(PA, Level::L3, PteFlags::KERNEL_RW);
        assert_eq!(page.kind(Level::L3), Kind::Page);
        assert_eq!(page.kind(Level::L2), Kind::Table);
        assert_eq!(Desc::INVALID.kind(Level::L3), Kind::Invalid);
    }

    /// nT (bit 16) is an attribute of blocks and an address bit of pages and tables.
    #[test]
    fn nt_is_not_an_address_bit_of_a_block() {
        let block = Desc::leaf(PA, Level::L2, PteFlags::KERNEL_RW | PteFlags::NT);
        assert_eq!(block.output(Level::L2), PA);
        assert!(block.flags(Level::L2).contains(PteFlags::NT));
        let page = Desc::leaf(PhysAddr::new(0x4001_0000), Level::L3, PteFlags::KERNEL_RW);
        assert_eq!(page.output(Level::L3), PhysAddr::new(0x4001_0000));
        assert!(!page.flags(Level::L3).contains(PteFlags::NT));
    }

    /// No named set of rights is both writable and executable, at either exception level.
    #[test]
    fn named_rights_are_w_xor_x() {
        for flags in [
            PteFlags::KERNEL_RW,
            PteFlags::KERNEL_RO,
            PteFlags::KERNEL_RX,
            PteFlags::KERNEL_DEVICE,
            PteFlags::USER_RO,
            PteFlags::USER_RW,
            PteFlags::USER_RX,
        ] {
            let desc = Desc::leaf(PA, Level::L2, flags);
            let executable = desc.kernel_exec() || desc.user_exec();
            assert!(!(desc.grants_write(HwDirty::Enabled) && executable), "{}", Rights(flags));
        }
    }

    /// A read-only descriptor with DBM counts as writable exactly where hardware manages dirty state.
    #[test]
    fn dbm_counts_as_writable() {
        let desc = Desc::leaf(PA, Level::L3, PteFlags::KERNEL_RO | PteFlags::DBM);
        assert!(desc.grants_write(HwDirty::Enabled));
        assert!(!desc.grants_write(HwDirty::Disabled));
    }

    /// A bit that is added changes nothing else.
    #[test]
    fn with_also_adds_bits() {
        for level in [Level::L1, Level::L2, Level::L3] {
            let rw = Desc::leaf(PhysAddr::new(0x4000_0000), level, PteFlags::USER_RW);
            let ro = Desc::leaf(PhysAddr::new(0x4000_0000), level, PteFlags::USER_RO);
            assert_eq!(rw.with_also(PteFlags::READ_ONLY), ro);
            assert_eq!(ro.with_also(PteFlags::READ_ONLY), ro);
            assert_eq!(rw.with_also(PteFlags::empty()), rw);
        }
    }

    /// Attribute bits outside the address survive a change of rights.
    #[test]
    fn with_flags_keeps_the_address() {
        let rw = Desc::leaf(PA, Level::L2, PteFlags::USER_RW);
        let ro = rw.with_flags(Level::L2, rw.flags(Level::L2) | PteFlags::READ_ONLY);
        assert_eq!(ro, Desc::leaf(PA, Level::L2, PteFlags::USER_RO));
    }
}
