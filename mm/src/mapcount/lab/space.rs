//! The address spaces of a lab: a tree that no CPU uses, and VMAs side by side.
#![forbid(unsafe_code)]

use arch::addr::PAGE_SIZE;
use arch::{Level, PhysAddr, VirtAddr};

use crate::mapcount::OwnerId;
use crate::pgtable::PrivateTree;

/// Most ends of VMAs between the first address and the last.
const CUTS: usize = 16;

/// One address space.
#[derive(Debug)]
pub struct LabSpace {
    /// Its tables.
    pub tree: PrivateTree,
    /// Its small number.
    pub owner: OwnerId,
    /// Where VMAs begin and end.
    pub vmas: Cuts,
}

impl LabSpace {
    /// The table of the level in which the entry for `va` stands, if there is one.
    #[must_use]
    pub fn table(&self, va: VirtAddr, level: Level) -> Option<PhysAddr> {
        self.tree.table_at(va, level)
    }
    /// Whether neither the page at `va` nor a block around it is mapped.
    #[must_use]
    pub fn is_free(&self, va: VirtAddr) -> bool {
        self.tree.walk(va).leaf().is_none()
    }
}

/// VMAs that cover a range without holes: where one ends and the next begins.
#[derive(Clone, Copy, Debug)]
pub struct Cuts {
    start: VirtAddr,
    end: VirtAddr,
    at: [VirtAddr; CUTS],
    len: usize,
}

impl Cuts {
    /// One VMA.
    #[must_use]
    pub const fn new(start: VirtAddr, end: VirtAddr) -> Self {
        Cuts { start, end, at: [end; CUTS], len: 0 }
    }
    /// First address and one past the last.
    #[must_use]
    pub const fn range(&self) -> (VirtAddr, VirtAddr) {
        (self.start, self.end)
    }
    /// First address of the VMA that holds `va`, and one past its last.
    #[must_use]
    pub fn around(&self, va: VirtAddr) -> (VirtAddr, VirtAddr) {
        let next = self.at[..self.len].partition_point(|&cut| cut <= va);
        let start = if next == 0 { self.start } else { self.at[next - 1] };
        let end = if next == self.len { self.end } else { self.at[next] };
        (start, end)
    }
    /// Whether one VMA ends here and another begins.
    #[must_use]
    pub fn is_cut(&self, va: VirtAddr) -> bool {
        self.at[..self.len].contains(&va)
    }
    /// Cuts a VMA; not where one is cut already, nor where there are as many as can be.
    pub fn cut(&mut self, va: VirtAddr) -> Option<()> {
        let inside = va > self.start && va < self.end && va.is_aligned(PAGE_SIZE);
        (inside && self.len < CUTS && !self.is_cut(va)).then_some(())?;
        let n = self.at[..self.len].partition_point(|&cut| cut < va);
        self.at.copy_within(n..self.len, n + 1);
        self.at[n] = va;
        self.len += 1;
        Some(())
    }
    /// How many places there are where one VMA ends and another begins.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len
    }
    /// Whether all is one VMA.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }
    /// Joins the VMAs at place `n`, which is below [`Self::len`]; returns the address.
    pub fn join(&mut self, n: usize) -> VirtAddr {
        let at = self.at[n];
        self.at.copy_within(n + 1..self.len, n);
        self.len -= 1;
        at
    }
}
