//! Addresses and their units: one type each, so that a frame number is never taken for an address.
//!
//! There is no `From<usize>`: a raw number becomes an address only where the code says so by name.
//! All arithmetic that could wrap is checked in builds with overflow checks.

use core::fmt;

/// Base-2 logarithm of the granule: 4 KiB.
pub const PAGE_SHIFT: u32 = 12;
/// Bytes in one page of the 4K granule.
pub const PAGE_SIZE: u64 = 1 << PAGE_SHIFT;
/// Descriptors in one table of the 4K granule.
pub const ENTRIES_PER_TABLE: usize = 512;

macro_rules! address {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        #[repr(transparent)]
        pub struct $name(u64);

        impl $name {
            /// The address with this numeric value.
            #[must_use]
            #[inline]
            pub const fn new(raw: u64) -> Self {
                Self(raw)
            }
            /// The numeric value.
            #[must_use]
            #[inline]
            pub const fn raw(self) -> u64 {
                self.0
            }
            /// The address `bytes` above this one.
            #[must_use]
            #[inline]
            pub const fn add(self, bytes: u64) -> Self {
                Self(self.0 + bytes)
            }
            /// The address `bytes` above this one, or `None` where that would pass the end of the
            /// 64-bit range.
            #[must_use]
            #[inline]
            pub const fn checked_add(self, bytes: u64) -> Option<Self> {
                match self.0.checked_add(bytes) {
                    Some(raw) => Some(Self(raw)),
                    None => None,
                }
            }
            /// The highest multiple of `align` (a power of two, bytes) not above this address.
            #[must_use]
            #[inline]
            pub const fn align_down(self, align: u64) -> Self {
                debug_assert!(align.is_power_of_two());
                Self(self.0 & !(align - 1))
            }
            /// The lowest multiple of `align` (a power of two, bytes) not below this address.
            #[must_use]
            #[inline]
            pub const fn align_up(self, align: u64) -> Self {
                debug_assert!(align.is_power_of_two());
                Self((self.0 + (align - 1)) & !(align - 1))
            }
            /// Whether the address is a multiple of `align` (a power of two, bytes).
            #[must_use]
            #[inline]
            pub const fn is_aligned(self, align: u64) -> bool {
                self.0 & (align - 1) == 0
            }
            /// Bytes from `base` up to this address. `base` must not be above it.
            #[must_use]
            #[inline]
            pub const fn offset_from(self, base: Self) -> u64 {
                self.0 - base.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:#018x}", self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({:#018x})"), self.0)
            }
        }
    };
}

address! {
    /// A physical address: what a descriptor's output address names.
    PhysAddr
}
address! {
    /// A virtual address of either half.
    VirtAddr
}

impl PhysAddr {
    /// The frame that holds this address.
    #[must_use]
    #[inline]
    pub const fn pfn(self) -> Pfn {
        Pfn(self.0 >> PAGE_SHIFT)
    }
}

impl VirtAddr {
    /// Index of the descriptor that translates this address in a table of `level` (0..=511).
    #[must_use]
    #[inline]
    pub const fn index(self, level: Level) -> usize {
        ((self.0 >> level.shift()) & 0x1ff) as usize
    }
    /// Whether the address belongs to the kernel's half (TTBR1; VA bits 63..48 all ones).
    #[must_use]
    #[inline]
    pub const fn is_kernel(self) -> bool {
        self.0 >> 48 == 0xffff
    }
    /// Whether the address belongs to the user's half (TTBR0; VA bits 63..48 all zeros).
    #[must_use]
    #[inline]
    pub const fn is_user(self) -> bool {
        self.0 >> 48 == 0
    }
}

/// A page frame number: physical address / 4096.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[repr(transparent)]
pub struct Pfn(u64);

impl Pfn {
    /// The frame with this number.
    #[must_use]
    #[inline]
    pub const fn new(raw: u64) -> Self {
        Self(raw)
    }
    /// The number.
    #[must_use]
    #[inline]
    pub const fn raw(self) -> u64 {
        self.0
    }
    /// The physical address of the frame's first byte.
    #[must_use]
    #[inline]
    pub const fn phys(self) -> PhysAddr {
        PhysAddr(self.0 << PAGE_SHIFT)
    }
    /// The frame `pages` above this one.
    #[must_use]
    #[inline]
    pub const fn add(self, pages: u64) -> Self {
        Self(self.0 + pages)
    }
    /// Frames from `base` up to this one. `base` must not be above it.
    #[must_use]
    #[inline]
    pub const fn offset_from(self, base: Self) -> u64 {
        self.0 - base.0
    }
    /// Whether a block of 2^`order` pages may begin here.
    #[must_use]
    #[inline]
    pub const fn is_aligned(self, order: Order) -> bool {
        self.0 & (order.pages() - 1) == 0
    }
    /// The first frame of the naturally aligned block of 2^`order` pages that holds this frame.
    #[must_use]
    #[inline]
    pub const fn align_down(self, order: Order) -> Self {
        Self(self.0 & !(order.pages() - 1))
    }
}

impl fmt::Display for Pfn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}

impl fmt::Debug for Pfn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pfn({:#x})", self.0)
    }
}

/// A block size as a power of two of pages: 2^order pages. 0..=18 (18 is 1 GiB).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
#[repr(transparent)]
pub struct Order(u8);

impl Order {
    /// One page.
    pub const PAGE: Order = Order(0);
    /// 2 MiB: what a level-2 block maps.
    pub const PMD: Order = Order(9);
    /// 1 GiB: what a level-1 block maps; the largest folio.
    pub const PUD: Order = Order(18);

    /// The order with this exponent. Panics above 18 (in a constant: does not compile).
    #[must_use]
    #[inline]
    pub const fn new(exponent: u8) -> Self {
        assert!(exponent <= 18, "an order is at most 18 (1 GiB)");
        Self(exponent)
    }
    /// The exponent.
    #[must_use]
    #[inline]
    pub const fn raw(self) -> u8 {
        self.0
    }
    /// Pages in the block.
    #[must_use]
    #[inline]
    pub const fn pages(self) -> u64 {
        1 << self.0
    }
    /// Bytes in the block.
    #[must_use]
    #[inline]
    pub const fn bytes(self) -> u64 {
        PAGE_SIZE << self.0
    }
}

impl fmt::Display for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// A lookup level of the 4K granule with 48-bit addresses: 0 (PGD) to 3 (PTE).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u8)]
pub enum Level {
    /// PGD: 512 GiB an entry; tables only.
    L0 = 0,
    /// PUD: 1 GiB an entry.
    L1 = 1,
    /// PMD: 2 MiB an entry.
    L2 = 2,
    /// PTE: 4 KiB an entry.
    L3 = 3,
}

impl Level {
    /// All levels, from the root down.
    pub const ALL: [Level; 4] = [Level::L0, Level::L1, Level::L2, Level::L3];

    /// The lowest VA bit that this level resolves (39, 30, 21 or 12).
    #[must_use]
    #[inline]
    pub const fn shift(self) -> u32 {
        39 - 9 * (self as u32)
    }
    /// Bytes that one entry of this level covers.
    #[must_use]
    #[inline]
    pub const fn entry_bytes(self) -> u64 {
        1 << self.shift()
    }
    /// The level below, or `None` at level 3.
    #[must_use]
    #[inline]
    pub const fn next(self) -> Option<Level> {
        match self {
            Level::L0 => Some(Level::L1),
            Level::L1 => Some(Level::L2),
            Level::L2 => Some(Level::L3),
            Level::L3 => None,
        }
    }
    /// The level above, whose descriptors point to tables of this level.
    #[must_use]
    #[inline]
    pub const fn previous(self) -> Option<Level> {
        match self {
            Level::L0 => None,
            Level::L1 => Some(Level::L0),
            Level::L2 => Some(Level::L1),
            Level::L3 => Some(Level::L2),
        }
    }
    /// The Linux name of the table at this level.
    #[must_use]
    #[inline]
    pub const fn name(self) -> &'static str {
        match self {
            Level::L0 => "PGD",
            Level::L1 => "PUD",
            Level::L2 => "PMD",
            Level::L3 => "PTE",
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", *self as u8)
    }
}

/// A size that one descriptor can map with the 4K granule.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum PageSize {
    /// A level-3 page.
    Size4K,
    /// A level-2 block.
    Size2M,
    /// A level-1 block.
    Size1G,
}

impl PageSize {
    /// The level of the leaf descriptor.
    #[must_use]
    #[inline]
    pub const fn level(self) -> Level {
        match self {
            PageSize::Size4K => Level::L3,
            PageSize::Size2M => Level::L2,
            PageSize::Size1G => Level::L1,
        }
    }
    /// Bytes mapped.
    #[must_use]
    #[inline]
    pub const fn bytes(self) -> u64 {
        self.level().entry_bytes()
    }
    /// The order of a folio that fills the mapping.
    #[must_use]
    #[inline]
    pub const fn order(self) -> Order {
        match self {
            PageSize::Size4K => Order::PAGE,
            PageSize::Size2M => Order::PMD,
            PageSize::Size1G => Order::PUD,
        }
    }
}

/// An address space identifier, 8 or 16 bits wide (see [`crate::Features::asid_bits`]). 0 is never
/// given to a process: it tags the empty user root.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
#[repr(transparent)]
pub struct Asid(u16);

impl Asid {
    /// The ASID of the empty user root.
    pub const NONE: Asid = Asid(0);
    /// The ASID with this value.
    #[must_use]
    #[inline]
    pub const fn new(raw: u16) -> Self {
        Self(raw)
    }
    /// The value.
    #[must_use]
    #[inline]
    pub const fn raw(self) -> u16 {
        self.0
    }
}

impl fmt::Display for Asid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An address splits into one 9-bit index per level and a page offset.
    #[test]
    fn indices_follow_the_levels() {
        let va = VirtAddr::new((1 << 39) | (2 << 30) | (3 << 21) | (4 << 12) | 5);
        let indices = Level::ALL.map(|l| va.index(l));
        assert_eq!(indices, [1, 2, 3, 4]);
    }

    /// Neither half claims an address with mixed upper bits.
    #[test]
    fn non_canonical_belongs_to_no_half() {
        let odd = VirtAddr::new(0x0001_0000_0000_0000);
        assert!(!odd.is_user() && !odd.is_kernel());
        assert!(VirtAddr::new(0xffff_0000_0000_0000).is_kernel());
        assert!(VirtAddr::new(0x0000_ffff_ffff_ffff).is_user());
    }

    /// Alignment helpers agree with each other at and around a boundary.
    #[test]
    fn alignment_at_the_boundary() {
        let pa = PhysAddr::new(0x20_0000);
        assert_eq!(pa.align_up(0x20_0000), pa);
        assert_eq!(pa.add(1).align_down(0x20_0000), pa);
        assert_eq!(pa.add(1).align_up(0x20_0000), PhysAddr::new(0x40_0000));
        assert!(pa.pfn().is_aligned(Order::PMD) && !pa.pfn().add(1).is_aligned(Order::new(1)));
    }
}
