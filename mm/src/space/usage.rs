//! How much memory a space has.
//!
//! Anonymous pages are counted where entries are made and cleared (`AddressSpace::add_anon`): one counter a space, of
//! which `nr_anon_pages` is the sum. Of shared memory all that the objects have counts, as it goes when nobody maps
//! them any more. The rest is in the tables of levels 0 to 2, of which even a large space has few. The 512 entries of
//! each level-3 table are never looked at, so that all spaces of a machine can be asked one after the other when memory
//! is out and somebody must be chosen (Linux: `mm_rss_stat`, `mm_pgtables_bytes`, `oom_badness`).
#![forbid(unsafe_code)]

use core::sync::atomic::Ordering;

use arch::addr::{ENTRIES_PER_TABLE, PAGE_SIZE};
use arch::pte::Kind;
use arch::{Desc, Level, Machine, PhysAddr, PhysMem};

use super::AddressSpace;
use crate::Mm;
use crate::page::{PageKind, PageRef};
use crate::pgtable::{moving_kind, normal_folio};
use crate::stats::Counter;

/// What the tables of a space map, in pages of 4 KiB.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Usage {
    /// Anonymous pages, in blocks or not: the resident set as Linux counts it. Less those that are moving to another
    /// frame at this moment.
    pub anon: u64,
    /// Pages in anonymous 2 MiB blocks.
    pub anon_huge: u64,
    /// Pages of hugetlb folios.
    pub hugetlb: u64,
    /// Pages of the objects that it maps, whoever has touched them.
    pub shared: u64,
    /// Pages of zeros in 2 MiB blocks.
    pub zero_huge: u64,
    /// Tables, the root too.
    pub tables: u64,
}

impl Usage {
    /// Adds what an entry above level 3 maps; one that is moving counts for the frame that it remembers.
    fn add_entry(&mut self, mm: &Mm, desc: Desc, level: Level) {
        let pages = level.entry_bytes() / PAGE_SIZE;
        let kind = match desc.as_migration(level) {
            Some(moving) => Some(moving_kind(mm, moving.output)),
            None => normal_folio(mm, desc, level).map(PageRef::kind),
        };
        match kind {
            Some(PageKind::Hugetlb) => self.hugetlb += pages,
            Some(PageKind::Anon) => self.anon_huge += pages,
            None if desc.is_leaf(level) && mm.huge_zero.is_at(desc.output(level)) => self.zero_huge += pages,
            _ => {}
        }
    }

    /// Adds what the table of `level`, above 3, leads to. Whoever takes tables of these levels away has M for writing,
    /// which the caller holds for reading.
    fn add_table(&mut self, mm: &Mm, space: &AddressSpace, table: PhysAddr, level: Level) {
        self.tables += 1;
        let read = |n: usize| Machine::read_desc(table.add(8 * n as u64));
        if let Some(next) = level.next().filter(|&next| next < Level::L3) {
            (0..ENTRIES_PER_TABLE).map(read).for_each(|desc| match desc.kind(level) {
                Kind::Table => self.add_table(mm, space, desc.output(level), next),
                _ => self.add_entry(mm, desc, level),
            });
            return;
        }
        // What a block maps is sure under T.
        let _tree = space.ptl.lock();
        (0..ENTRIES_PER_TABLE).map(read).filter(|&desc| desc != Desc::INVALID).for_each(|desc| {
            match desc.kind(level) {
                Kind::Table => self.tables += 1,
                _ => self.add_entry(mm, desc, level),
            }
        });
    }
}

impl AddressSpace {
    /// So many more anonymous pages are mapped (4 KiB units).
    #[inline]
    pub fn add_anon(&self, mm: &Mm, pages: u64) {
        self.anon.fetch_add(pages, Ordering::Relaxed);
        mm.stats.add(Counter::NrAnon, pages);
    }
    /// So many fewer.
    #[inline]
    pub fn sub_anon(&self, mm: &Mm, pages: u64) {
        self.anon.fetch_sub(pages, Ordering::Relaxed);
        mm.stats.sub(Counter::NrAnon, pages);
    }
    /// Anonymous pages that its entries map (4 KiB units; Linux: MM_ANONPAGES).
    #[must_use]
    pub fn anon_pages(&self) -> u64 {
        self.anon.load(Ordering::Relaxed)
    }
    /// Counts a page that is not mapped: damage for the checks to find.
    #[cfg(test)]
    pub(crate) fn spoil_anon(&self) {
        self.anon.fetch_add(1, Ordering::Relaxed);
    }
}

impl Usage {
    /// Pages that its end may free (4 KiB units): not those of hugetlb, which the pool gets back and keeps (Linux:
    /// `oom_badness`).
    #[must_use]
    pub fn resident(&self) -> u64 {
        self.anon + self.shared + self.tables
    }
}

impl Mm {
    /// What the tables of `space` map: nothing, where it has ended. Its time follows the tables above level 3. May
    /// sleep.
    #[must_use]
    pub fn usage(&self, space: &AddressSpace) -> Usage {
        let _mmap = space.mmap_lock.read(self.env);
        let mut usage = Usage::default();
        // Who ends the space has M for writing.
        if space.has_tables() {
            usage.anon = space.anon_pages();
            usage.shared = space.objects.held_pages();
            usage.add_table(self, space, space.root(), Level::L0);
        }
        usage
    }
}
