//! What the tables of a space map.
#![forbid(unsafe_code)]

use arch::addr::PAGE_SIZE;
use arch::layout::USER_END;
use arch::{Desc, Level, VirtAddr};

use super::AddressSpace;
use super::range::{scan, table_bytes};
use crate::Mm;
use crate::page::{PageKind, PageRef};
use crate::pgtable::{WalkStep, moving_kind, normal_folio};

/// What the tables of a space map, in pages of 4 KiB.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Usage {
    /// Anonymous pages, in blocks or not: the resident set as Linux counts it.
    pub anon: u64,
    /// Of these, pages in 2 MiB blocks.
    pub anon_huge: u64,
    /// Pages of hugetlb folios.
    pub hugetlb: u64,
    /// Pages of zeros.
    pub zero: u64,
    /// Tables, the root too.
    pub tables: u64,
}

impl Usage {
    /// Adds what an entry maps that leads to no table; one that is moving counts for the frame that it remembers.
    fn add_entry(&mut self, mm: &Mm, desc: Desc, level: Level) {
        let pages = level.entry_bytes() / PAGE_SIZE;
        let kind = match desc.as_migration(level) {
            Some(moving) => Some(moving_kind(mm, moving.output)),
            None => normal_folio(mm, desc, level).map(PageRef::kind),
        };
        match kind {
            Some(PageKind::Hugetlb) => self.hugetlb += pages,
            Some(PageKind::Anon) if level == Level::L2 => {
                self.anon += pages;
                self.anon_huge += pages;
            }
            Some(PageKind::Anon) => self.anon += pages,
            Some(_) => {}
            None => self.add_special(mm, desc, level),
        }
    }

    /// Adds a leaf that is special, or nothing.
    fn add_special(&mut self, mm: &Mm, desc: Desc, level: Level) {
        let is_zeros = |output| mm.zero_page.is_at(output) || mm.huge_zero.is_at(output);
        if desc.is_leaf(level) && is_zeros(desc.output(level)) {
            self.zero += level.entry_bytes() / PAGE_SIZE;
        }
    }
}

impl Mm {
    /// What the tables of `space` map, by a scan: nothing, where it has ended. May sleep.
    #[must_use]
    pub fn usage(&self, space: &AddressSpace) -> Usage {
        let _mmap = space.mmap_lock.read(self.env);
        let mut usage = Usage::default();
        // Who ends the space has M for writing.
        if !space.has_tables() {
            return usage;
        }
        scan(self, space, VirtAddr::new(0), USER_END, |stretch| {
            let (start, level) = (stretch.start(), stretch.level());
            let new_tables = |step: &&WalkStep| {
                step.level == Level::L0 && start.raw() == 0
                    || step.level != Level::L0 && start.is_aligned(table_bytes(step.level))
            };
            usage.tables += stretch.walk().steps().iter().filter(new_tables).count() as u64;
            stretch.descs().for_each(|desc| usage.add_entry(self, desc, level));
        });
        usage
    }
}
