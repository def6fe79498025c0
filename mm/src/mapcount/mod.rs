//! Room 4: how often a folio is mapped.
//!
//! A *mapping* is one leaf entry of a user tree, of any size, that maps a part of the folio. Each holds one
//! reference to the folio's head. How mappings are counted is a boot choice ([`Mapcount`]); what a scheme can
//! answer, and how exactly, is the contract of [`MapcountScheme`]. Truth in tests is a scan of all tables.
//!
//! | scheme | mapped at all | leaf entries | of one page of a folio | by one space only |
//! |---|---|---|---|---|
//! | [`rfc_v2`] | exact | exact | upper bound (exact for a single page) | exact for one entry, else unknown |
//!
//! Counts change under the page-table lock of the tree whose entry was made or cleared.
#![forbid(unsafe_code)]

pub mod rfc_v2;

use arch::addr::PAGE_SIZE;
use arch::{Level, Order, PhysAddr, VirtAddr};

use crate::Mm;
use crate::config::Mapcount;
use crate::page::PageRef;

/// How far an answer can be trusted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Answer<T> {
    /// This is so, as long as nobody changes the tables.
    Exact(T),
    /// No more than this.
    AtMost(T),
    /// The scheme cannot tell.
    Unknown,
}

/// Who maps a folio.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sharing {
    /// One address space, or none.
    Exclusive,
    /// More than one.
    Shared,
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
    /// The first address that they translate.
    pub va: VirtAddr,
    /// The number of the address space.
    pub space: u64,
    /// First address of the VMA and one past its last.
    pub vma: (VirtAddr, VirtAddr),
}

impl Run {
    /// Pages of 4 KiB that the run maps.
    #[must_use]
    pub fn pages(&self) -> u64 {
        u64::from(self.entries) * (self.level.entry_bytes() / PAGE_SIZE)
    }
}

/// What a way of counting promises. `head` is a single page or the head of a folio; a tail is never given.
/// Answers are exact, or bounds, at the moment of reading; under the locks of all trees that map the folio
/// they stay so.
pub trait MapcountScheme {
    /// The run was made, or is about to be. Under T.
    fn add(&self, run: &Run);
    /// The run was cleared, or is about to be. Under T. Returns how many entries are left, in all trees.
    fn remove(&self, run: &Run) -> u32;
    /// The block, a run of one, is replaced by a table at `table` whose 512 entries map the same pages. Under T.
    fn split(&self, block: &Run, table: PhysAddr);
    /// Single pages from `block.head` on, each mapped by one entry or by none, are about to become one folio of
    /// `order` that the one entry of `block` maps. Their references are frozen. Under T.
    fn fold(&self, block: &Run, order: Order);
    /// Whether any entry maps any part. Exact in every scheme.
    fn is_mapped(&self, head: PageRef) -> bool;
    /// How many leaf entries map any part: `Exact` or `AtMost`.
    fn entries(&self, head: PageRef) -> Answer<u32>;
    /// How many leaf entries map this one page, which may be a tail of `head`.
    fn page_entries(&self, head: PageRef, page: PageRef) -> Answer<u32>;
    /// Whether one address space alone maps the folio. A wrong `Exclusive` would let a writer into another's
    /// memory, so it is given only as `Exact`; `Unknown` where entries of one or of many spaces look alike.
    fn sharing(&self, head: PageRef) -> Answer<Sharing>;
}

/// The scheme that the machine was booted with.
#[must_use]
pub fn scheme(mm: &Mm) -> &'static dyn MapcountScheme {
    match mm.config.mapcount {
        Mapcount::RfcV2 => &rfc_v2::RfcV2,
    }
}

/// See [`MapcountScheme::add`].
pub fn add(mm: &Mm, run: &Run) {
    scheme(mm).add(run);
}

/// See [`MapcountScheme::remove`].
pub fn remove(mm: &Mm, run: &Run) -> u32 {
    scheme(mm).remove(run)
}

/// See [`MapcountScheme::split`].
pub fn split(mm: &Mm, block: &Run, table: PhysAddr) {
    scheme(mm).split(block, table);
}

/// See [`MapcountScheme::fold`].
pub fn fold(mm: &Mm, block: &Run, order: Order) {
    scheme(mm).fold(block, order);
}
