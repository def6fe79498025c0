//! A run of leaf entries: what is counted at once.
#![forbid(unsafe_code)]

use arch::addr::{ENTRIES_PER_TABLE, PAGE_SIZE};
use arch::{Level, PhysAddr, VirtAddr};

use super::OwnerId;
use crate::page::PageRef;

/// Whether it makes a difference where entries of one space stand.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Place {
    /// They count the same in every table and VMA: who moves them need not count them anew.
    Anywhere,
    /// Their table counts, or their VMA.
    Counts,
}

/// Leaf entries of one table, next to one another, that map consecutive pages of one folio: what is made or cleared
/// at once is counted at once. A block is a run of one entry.
#[derive(Clone, Copy, Debug)]
pub struct Run {
    /// The folio: its head, or a single page.
    pub head: PageRef,
    /// The page that the first entry maps, or begins to map.
    pub first: PageRef,
    /// How many entries; 1 or more.
    pub entries: u32,
    /// The level of the table in which they stand.
    pub level: Level,
    /// The table.
    pub table: PhysAddr,
    /// The table behind the entry of the folio's own size: [`Self::table`], but for a folio of 1 GiB that is mapped by
    /// pages, and while entries stand in a table from which they will go into this one (fork). Of no interest where the
    /// run is that entry itself.
    pub top: PhysAddr,
    /// The first address that they translate.
    pub va: VirtAddr,
    /// The number of the address space.
    pub space: u64,
    /// The small number of the address space, for schemes that keep it beside a count.
    pub owner: OwnerId,
    /// First address of the VMA and one past its last.
    pub vma: (VirtAddr, VirtAddr),
}

impl Run {
    /// Pages of 4 KiB that the run maps.
    #[must_use]
    pub fn pages(&self) -> u64 {
        u64::from(self.entries) * (self.level.entry_bytes() / PAGE_SIZE)
    }
    /// Whether each entry maps as much as the folio has.
    #[must_use]
    pub(super) fn is_whole(&self) -> bool {
        self.level.entry_bytes() == self.head.order().bytes()
    }
    /// Where the folio would begin if all of it were mapped as the run is: an address before the first one of all, by
    /// wrapping, where only its end is.
    #[must_use]
    pub(super) fn placement(&self) -> u64 {
        let skipped = self.first.pfn().offset_from(self.head.pfn()) * PAGE_SIZE;
        self.va.raw().wrapping_sub(skipped)
    }
    /// The run that a block becomes which is split: the entries of the table of the next level at `table`.
    #[must_use]
    pub(crate) fn pieces(&self, table: PhysAddr) -> Run {
        let level = self.level.next().unwrap_or(self.level);
        let top = if self.is_whole() { table } else { self.top };
        Run { entries: ENTRIES_PER_TABLE as u32, level, table, top, ..*self }
    }
}
