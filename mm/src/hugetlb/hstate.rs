//! The sizes of hugetlb pages, and what follows from each.
//!
//! ```text
//!   size     order   mapped by
//!   64 KiB       4   16 level-3 pages, folded
//!    2 MiB       9   a level-2 block
//!   32 MiB      13   16 level-2 blocks, folded
//!    1 GiB      18   a level-1 block
//! ```
//! Each entry that maps a part of a folio holds one reference and counts as one mapping, whatever its size: a page of
//! 64 KiB has 16 of each in every space that maps it.
#![forbid(unsafe_code)]

use core::fmt;

use arch::contiguous::CONT_ENTRIES;
use arch::{Level, Order};

use crate::fault::FaultReason;

/// A hugetlb page size, which has a pool of its own (Linux: `struct hstate`; the four that arm64 has with pages of
/// 4 KiB).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum HugeSize {
    /// 64 KiB.
    K64,
    /// 2 MiB, the default size.
    M2,
    /// 32 MiB.
    M32,
    /// 1 GiB.
    G1,
}

impl HugeSize {
    /// All sizes, the smallest first.
    pub const ALL: [HugeSize; 4] = [HugeSize::K64, HugeSize::M2, HugeSize::M32, HugeSize::G1];
    /// The size of a request that names none.
    pub const DEFAULT: HugeSize = HugeSize::M2;

    /// Where it stands in [`Self::ALL`].
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }
    /// The level of the entries that map a page.
    #[must_use]
    pub const fn level(self) -> Level {
        match self {
            HugeSize::K64 => Level::L3,
            HugeSize::M2 | HugeSize::M32 => Level::L2,
            HugeSize::G1 => Level::L1,
        }
    }
    /// How many entries map a page: one, or a group of 16.
    #[must_use]
    pub const fn entries(self) -> usize {
        match self {
            HugeSize::K64 | HugeSize::M32 => CONT_ENTRIES,
            HugeSize::M2 | HugeSize::G1 => 1,
        }
    }
    /// Bytes of a page.
    #[must_use]
    pub const fn bytes(self) -> u64 {
        self.entries() as u64 * self.level().entry_bytes()
    }
    /// The order of a folio.
    #[must_use]
    pub const fn order(self) -> Order {
        Order::new(self.bytes().ilog2() as u8 - 12)
    }
    /// The sizes that its pages can be divided into, the smallest first.
    pub fn smaller(self) -> impl DoubleEndedIterator<Item = HugeSize> {
        Self::ALL.into_iter().filter(move |&size| size < self)
    }
    /// KiB of a page.
    #[must_use]
    pub const fn kib(self) -> u64 {
        self.bytes() >> 10
    }
    /// What a fault is that finds such a page failed.
    #[must_use]
    pub const fn failure(self) -> FaultReason {
        FaultReason::MemoryFailure { lsb: self.bytes().ilog2() as u8 }
    }
    /// The word for it on the command line (`hugepagesz=`).
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            HugeSize::K64 => "64K",
            HugeSize::M2 => "2M",
            HugeSize::M32 => "32M",
            HugeSize::G1 => "1G",
        }
    }
    /// The words of all sizes.
    pub const WORDS: &'static [&'static str] = &["64K", "2M", "32M", "1G"];

    /// The size that this word names.
    #[must_use]
    pub fn parse(word: &str) -> Option<HugeSize> {
        Self::ALL.into_iter().find(|size| size.word() == word)
    }
    /// The size with this base-2 logarithm, as MAP_HUGE_* and MFD_HUGE_* give it.
    #[must_use]
    pub fn from_log(log: u32) -> Option<HugeSize> {
        Self::ALL.into_iter().find(|size| size.bytes().ilog2() == log)
    }
    /// The size of a folio of this order.
    #[must_use]
    pub fn from_order(order: Order) -> Option<HugeSize> {
        Self::ALL.into_iter().find(|size| size.order() == order)
    }
}

impl fmt::Display for HugeSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The four sizes of arm64 with pages of 4 KiB, by order, logarithm and word.
    #[test]
    fn sizes_of_arm64() {
        let orders = HugeSize::ALL.map(|size| size.order().raw());
        assert_eq!(orders, [4, 9, 13, 18]);
        assert_eq!([16, 21, 25, 30].map(HugeSize::from_log), HugeSize::ALL.map(Some));
        assert_eq!([12, 20, 22, 34].map(HugeSize::from_log), [None; 4]);
        for (size, word) in HugeSize::ALL.into_iter().zip(HugeSize::WORDS) {
            assert_eq!(HugeSize::parse(word), Some(size));
            assert_eq!(HugeSize::from_order(size.order()), Some(size));
        }
    }
}
