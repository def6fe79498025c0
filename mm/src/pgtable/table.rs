//! Tables that no live tree leads to.
#![forbid(unsafe_code)]

use core::marker::PhantomData;

use arch::addr::{ENTRIES_PER_TABLE, PAGE_SIZE};
use arch::{Desc, DescTable, Machine, Order, PhysAddr, PhysMem};

use crate::Mm;
use crate::error::OutOfMemory;
use crate::page::{FolioRef, PageKind, page_of};
use crate::stats::Counter;

/// The owner of a table that no walker can reach: it was never linked, or is the root of a tree that no CPU will
/// use again. A table that was unlinked from a live tree is none: it is an [`super::Unmapped`] or a
/// [`super::Displaced`], until a [`super::Gather`] has flushed.
#[must_use = "a table is linked, or given back by `free_table`; otherwise its frame is lost"]
#[derive(Debug)]
pub struct LooseTable(FolioRef);

impl LooseTable {
    /// Where the table is.
    #[must_use]
    pub fn address(&self) -> PhysAddr {
        self.0.pfn().phys()
    }

    /// Writes all its entries: `new` gives entry `n`, 0..=511.
    pub fn fill(&mut self, new: impl Fn(usize) -> Desc) {
        let table = Machine::table(self.address());
        (0..ENTRIES_PER_TABLE).for_each(|n| table.write(n, new(n)));
    }

    /// Its entries, to be written one by one.
    pub fn entries(&mut self) -> LooseEntries<'_> {
        LooseEntries::unreachable(self.address())
    }

    /// The descriptor that links it. From now on the table belongs to the tree.
    #[must_use = "the descriptor is all that is left of the table"]
    pub fn link(self) -> Desc {
        Desc::table(self.0.into_raw().pfn().phys())
    }

    /// The table that was linked by `address`, which is flushed and can be reached by no walker any more.
    pub(super) fn from_flushed(address: PhysAddr) -> Self {
        LooseTable(FolioRef::from_raw(page_of(address.pfn())))
    }
}

/// The entries of a table that no walker can reach. Who writes one of a folded group writes all of it.
#[derive(Debug)]
pub struct LooseEntries<'t> {
    table: PhysAddr,
    descs: <Machine as PhysMem>::Table,
    owner: PhantomData<&'t mut LooseTable>,
}

impl LooseEntries<'_> {
    /// Those of the table at `table`, which no walker can reach as long as they are borrowed.
    pub(super) fn unreachable(table: PhysAddr) -> Self {
        LooseEntries { table, descs: Machine::table(table), owner: PhantomData }
    }
    /// Where the table is.
    #[must_use]
    #[inline]
    pub fn table(&self) -> PhysAddr {
        self.table
    }
    /// Writes entry `n`, 0..=511.
    #[inline]
    pub fn write(&mut self, n: usize, new: Desc) {
        self.descs.write(n, new);
    }
}

impl Mm {
    /// One zeroed page table.
    ///
    /// # Errors
    /// [`OutOfMemory`].
    pub fn alloc_table(&self) -> Result<LooseTable, OutOfMemory> {
        let page = self.alloc_zeroed_page(PageKind::Table)?;
        self.stats.inc(Counter::NrPageTable);
        Ok(LooseTable(page))
    }

    /// As [`Self::alloc_table`], where nothing is to be given back for it.
    ///
    /// # Errors
    /// [`OutOfMemory`].
    pub(super) fn alloc_kept_table(&self) -> Result<LooseTable, OutOfMemory> {
        let page = self.alloc_free_block(Order::PAGE, PageKind::Table).ok_or(OutOfMemory)?;
        Machine::zero(page.pfn().phys(), PAGE_SIZE);
        self.stats.inc(Counter::NrPageTable);
        Ok(LooseTable(page))
    }

    /// Gives back a table that no walker can reach.
    pub fn free_table(&self, table: LooseTable) {
        self.stats.sub(Counter::NrPageTable, 1);
        self.free_pages(table.0, Order::PAGE);
    }
}
