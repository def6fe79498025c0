//! The size of the pool's pages, and what follows from it.
#![forbid(unsafe_code)]

use arch::{Level, Order, PageSize};

/// A hugetlb page size. There is one: a folio that a level-2 block maps.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Hstate {
    /// What one entry maps.
    pub size: PageSize,
    /// The name of its directory under `/sys/kernel/mm/hugepages`.
    pub directory: &'static str,
}

/// 2 MiB.
pub const SIZE_2M: Hstate = Hstate { size: PageSize::Size2M, directory: "hugepages-2048kB" };

impl Hstate {
    /// Bytes of a page.
    #[must_use]
    pub const fn bytes(self) -> u64 {
        self.size.bytes()
    }
    /// The order of a folio.
    #[must_use]
    pub const fn order(self) -> Order {
        self.size.order()
    }
    /// The level of the entry that maps a page.
    #[must_use]
    pub const fn level(self) -> Level {
        self.size.level()
    }
}
