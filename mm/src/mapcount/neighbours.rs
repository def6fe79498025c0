//! Looking at a run's neighbours: whether its table maps more of the folio.
//!
//! ```text
//!   table     [ . a b c X X X d . . ]      X the run; a, b, c, d the same folio, each where the run would go on
//!                 |<- window ->|           window: the folio's extent, in the table, in the limits that are given
//! ```
//! The table is under T, or nobody else can reach it.
#![forbid(unsafe_code)]

use core::ops::Range;

use arch::addr::{ENTRIES_PER_TABLE, PAGE_SIZE};
use arch::{Level, Machine, Order, PhysAddr, PhysMem, VirtAddr};

use super::Run;
use crate::page::PageRef;

/// No limits but the folio's and the table's.
pub(super) const ANYWHERE: (VirtAddr, VirtAddr) = (VirtAddr::new(0), VirtAddr::new(u64::MAX));

/// Where a folio lies in a table.
#[derive(Clone, Copy)]
pub(super) struct Line {
    /// The folio.
    pub(super) head: PageRef,
    /// The page that entry `at` maps.
    pub(super) page: PageRef,
    /// An entry of the table.
    pub(super) at: usize,
    /// The address that it translates.
    pub(super) va: VirtAddr,
    /// The table.
    pub(super) table: PhysAddr,
    /// Its level.
    pub(super) level: Level,
}

/// Whether an entry of the run's table, other than the run's, maps the folio in line with the run, at an address in
/// `limits`. Looks at the nearest entries first and stops at the first that does.
pub(super) fn has_others(run: &Run, limits: (VirtAddr, VirtAddr)) -> bool {
    let Run { head, first: page, level, table, va, entries, .. } = *run;
    let line = Line { head, page, at: va.index(level), va, table, level };
    let end = va.add(u64::from(entries) * level.entry_bytes());
    let both = |line: Line| line.is_mapped_around(line.window((limits.0, va)), line.window((end, limits.1)));
    // Entries on their way into another table have neighbours there too.
    let prepared = level == Level::L3 && run.top != table && head.order() <= Order::PMD;
    both(line) || prepared && both(Line { table: run.top, ..line })
}

impl Line {
    /// Whether an entry of either range maps the folio in line, the nearest ones first, on both sides in turn: whoever
    /// maps or unmaps a folio page by page, up or down, finds a neighbour at once.
    fn is_mapped_around(&self, before: Range<usize>, after: Range<usize>) -> bool {
        let below = |n: usize| n < before.len() && self.maps(before.end - 1 - n);
        let above = |n: usize| n < after.len() && self.maps(after.start + n);
        (0..before.len().max(after.len())).any(|n| below(n) || above(n))
    }

    /// Whether an entry for an address in `limits` maps the folio in line. The entries nearest to `at` come first.
    pub(super) fn is_mapped_in(&self, limits: (VirtAddr, VirtAddr)) -> bool {
        let window = self.window(limits);
        if window.end <= self.at {
            window.rev().any(|n| self.maps(n))
        } else {
            { window }.any(|n| self.maps(n))
        }
    }

    /// The entries for addresses in `limits` that could map the folio in line.
    fn window(&self, limits: (VirtAddr, VirtAddr)) -> Range<usize> {
        let bytes = self.level.entry_bytes();
        let before = self.page.pfn().offset_from(self.head.pfn()) * PAGE_SIZE / bytes;
        let after = self.head.order().bytes() / bytes - before;
        let table = self.va.raw() - self.at as u64 * bytes;
        let index = |va: VirtAddr| (va.raw().saturating_sub(table) / bytes).min(ENTRIES_PER_TABLE as u64);
        let at = self.at as u64;
        let start = index(limits.0).max(at.saturating_sub(before));
        let end = index(limits.1).min(at + after);
        start as usize..end as usize
    }

    /// Whether entry `n` is a leaf that maps what it would map if the folio went on there.
    fn maps(&self, n: usize) -> bool {
        let desc = Machine::read_desc(self.table.add(8 * n as u64));
        let pages = self.level.entry_bytes() / PAGE_SIZE;
        let page = (self.page.pfn().raw() + n as u64 * pages).wrapping_sub(self.at as u64 * pages);
        desc.is_leaf(self.level) && desc.output(self.level).pfn().raw() == page
    }
}
