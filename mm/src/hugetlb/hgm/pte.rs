//! An entry of a hugetlb VMA, and its real size: what one mapping covers (Houghton's series: `struct hugetlb_pte`).
#![forbid(unsafe_code)]

use arch::addr::PAGE_SIZE;
use arch::{Desc, Level, VirtAddr};

use super::super::HugeSize;
use crate::config::Contpte;
use crate::pgtable::fold::group_at;
use crate::pgtable::{PtRoot, WalkStep};

/// How much one mapping covers: a leaf, or a group of 16.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum MapSize {
    /// 4 KiB: a level-3 page.
    Page,
    /// What maps a page of this size: a block, or a group.
    Huge(HugeSize),
}

impl MapSize {
    /// The level of its entries.
    #[must_use]
    pub const fn level(self) -> Level {
        match self {
            MapSize::Page => Level::L3,
            MapSize::Huge(size) => size.level(),
        }
    }
    /// How many entries: one, or 16.
    #[must_use]
    pub const fn entries(self) -> usize {
        match self {
            MapSize::Page => 1,
            MapSize::Huge(size) => size.entries(),
        }
    }
    /// Bytes.
    #[must_use]
    pub const fn bytes(self) -> u64 {
        match self {
            MapSize::Page => PAGE_SIZE,
            MapSize::Huge(size) => size.bytes(),
        }
    }

    /// The next smaller size; that of a page has none.
    #[must_use]
    pub fn smaller(self) -> MapSize {
        match self {
            MapSize::Page => MapSize::Page,
            MapSize::Huge(size) => size.smaller().next_back().map_or(MapSize::Page, MapSize::Huge),
        }
    }

    /// The largest size up to `most` that begins at `va` and covers `bytes` at most, in a VMA of pages of `page`.
    /// Groups that are not folded are no size, but for the page's own.
    #[must_use]
    pub fn largest(va: VirtAddr, bytes: u64, most: MapSize, page: HugeSize, contpte: Contpte) -> MapSize {
        let fits = |size: &HugeSize| {
            let is_size = size.entries() == 1 || *size == page || contpte == Contpte::On;
            is_size && MapSize::Huge(*size) <= most && va.is_aligned(size.bytes()) && size.bytes() <= bytes
        };
        HugeSize::ALL.into_iter().rev().find(fits).map_or(MapSize::Page, MapSize::Huge)
    }
}

/// A part of a page that one mapping covers, or is to cover.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Piece {
    /// Its first address, a multiple of its size.
    pub(crate) va: VirtAddr,
    /// How much.
    pub(crate) size: MapSize,
}

impl Piece {
    /// The next smaller one that holds `va`, an address of this one.
    #[must_use]
    pub(crate) fn around(self, va: VirtAddr, contpte: Contpte) -> Piece {
        let mut size = self.size.smaller();
        while size.entries() != 1 && contpte == Contpte::Off {
            size = size.smaller();
        }
        Piece { va: va.align_down(size.bytes()), size }
    }
}

/// What stands where the walk for an address ends: a leaf, a blank entry or a migration entry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct HugetlbPte {
    /// The first address that it translates, all of its group if it is one of a folded group, or of 16 blank entries.
    pub va: VirtAddr,
    /// How much it maps; of a blank one, how much one mapping could: no more than a page.
    pub size: MapSize,
    /// What stands there.
    pub desc: Desc,
    /// The level of its table; of a blank one it may be above that of its size, as tables are missing.
    pub level: Level,
}

impl HugetlbPte {
    /// That of `va`, in a VMA of pages of this size. `tree` is the space's, under T.
    #[must_use]
    pub fn at(tree: &PtRoot, va: VirtAddr, page: HugeSize, contpte: Contpte) -> Self {
        let last = tree.last(va);
        let size = if last.desc.is_empty() { blank(last, page, contpte) } else { leaf(last) };
        HugetlbPte { va: va.align_down(size.bytes()), size, desc: last.desc, level: last.level }
    }
    /// Whether nothing stands there.
    #[must_use]
    pub fn is_blank(&self) -> bool {
        self.desc.is_empty()
    }
    /// Whether it maps something.
    #[must_use]
    pub fn is_leaf(&self) -> bool {
        self.desc.is_leaf(self.level)
    }
    /// Whether what it maps is moving to another frame.
    #[must_use]
    pub fn is_migrating(&self) -> bool {
        self.desc.is_migration()
    }
}

/// The size of a leaf, or migration entry.
fn leaf(last: WalkStep) -> MapSize {
    match (last.level, last.desc.is_contiguous()) {
        (Level::L3, false) => MapSize::Page,
        (Level::L3, true) => MapSize::Huge(HugeSize::K64),
        (Level::L2, false) => MapSize::Huge(HugeSize::M2),
        (Level::L2, true) => MapSize::Huge(HugeSize::M32),
        (Level::L1 | Level::L0, _) => MapSize::Huge(HugeSize::G1),
    }
}

/// How much one mapping could cover where nothing stands.
fn blank(last: WalkStep, page: HugeSize, contpte: Contpte) -> MapSize {
    if last.level < page.level() {
        return MapSize::Huge(page);
    }
    let (one, group) = match last.level {
        Level::L3 => (MapSize::Page, HugeSize::K64),
        Level::L2 => (MapSize::Huge(HugeSize::M2), HugeSize::M32),
        Level::L1 | Level::L0 => return MapSize::Huge(page),
    };
    let may_be = group == page || group < page && contpte == Contpte::On;
    let all_blank = || group_at(last.slot).iter().all(|desc| desc.is_empty());
    if may_be && all_blank() { MapSize::Huge(group) } else { one }
}
