//! What was taken out of a live tree: it can be looked at, and can go nowhere but into a gather.
//!
//! ```text
//!   Entry::clear(gather) --> Unmapped   TLBs may hold it; the flush is owed to that gather, which alone takes it
//!   Clean::make(..) -------> Displaced  flushed already; any gather takes it
//! ```
//! Both stand for the reference that the entry held to a folio, or for the table that it led to.
#![forbid(unsafe_code)]

use core::marker::PhantomData;

use arch::pte::Kind;
use arch::{Desc, Level, PhysAddr};

use super::gather::Brand;
use super::normal::normal_folio;
use crate::Mm;
use crate::page::{PageRef, page_of};

/// A descriptor that was valid, and its level.
#[derive(Clone, Copy, Debug)]
pub(super) struct Old {
    pub(super) desc: Desc,
    pub(super) level: Level,
}

impl Old {
    pub(super) fn kind(self) -> Kind {
        self.desc.kind(self.level)
    }
    pub(super) fn output(self) -> PhysAddr {
        self.desc.output(self.level)
    }
    /// The folio to which the entry held a reference. `None`: it was a table or invalid, or special.
    pub(super) fn folio(self, mm: &Mm) -> Option<PageRef> {
        normal_folio(mm, self.desc, self.level)
    }
}

/// What one entry held that was cleared, while TLBs may still hold it too. Only the gather `'g`, to which the
/// flush is owed, takes it: [`super::Gather::hold`]. A table comes with everything below it.
#[must_use = "what was unmapped must be given to the gather; otherwise its memory is lost"]
#[derive(Debug)]
pub struct Unmapped<'g> {
    pub(super) old: Old,
    gather: Brand<'g>,
}

impl Unmapped<'_> {
    pub(super) fn new(desc: Desc, level: Level) -> Self {
        Unmapped { old: Old { desc, level }, gather: PhantomData }
    }
    /// The descriptor that stood there.
    #[must_use]
    pub fn desc(&self) -> Desc {
        self.old.desc
    }
    /// The level of its table.
    #[must_use]
    pub fn level(&self) -> Level {
        self.old.level
    }
    /// A view of the folio that it mapped a part of: its head, for counts of mappings. `None`: it was a table or
    /// invalid, or special.
    #[must_use]
    pub fn folio(&self, mm: &Mm) -> Option<PageRef> {
        self.old.folio(mm)
    }
}

/// What entries of one table held that were cleared, next to one another and mapping consecutive pages of one folio; as
/// [`Unmapped`]. A special leaf, or a block, is a run of one.
#[must_use = "what was unmapped must be given to the gather; otherwise its memory is lost"]
#[derive(Debug)]
pub struct UnmappedRun<'g> {
    head: Option<PageRef>,
    output: PhysAddr,
    level: Level,
    entries: u32,
    gather: Brand<'g>,
}

impl UnmappedRun<'_> {
    /// The run that begins with this leaf, of one entry.
    #[inline]
    pub(super) fn begin(mm: &Mm, desc: Desc, level: Level) -> Self {
        let head = normal_folio(mm, desc, level);
        UnmappedRun { head, output: desc.output(level), level, entries: 1, gather: PhantomData }
    }
    /// Most entries that it can have.
    #[inline]
    pub(super) fn most(&self) -> usize {
        match self.head {
            Some(head) if self.level == Level::L3 && head.is_folio() => {
                let skipped = self.output.pfn().offset_from(head.pfn());
                head.order().pages().saturating_sub(skipped) as usize
            }
            _ => 1,
        }
    }
    /// Whether a leaf with this descriptor, `n` entries further on, belongs to it.
    #[inline]
    pub(super) fn goes_on_with(&self, n: usize, desc: Desc) -> bool {
        let next = self.output.add(n as u64 * self.level.entry_bytes());
        desc.is_leaf(self.level) && !desc.is_special() && desc.output(self.level) == next
    }
    /// The run with this many entries.
    #[inline]
    pub(super) fn of(self, entries: usize) -> Self {
        UnmappedRun { entries: entries as u32, ..self }
    }
    /// A view of the folio that it mapped: its head, or a single page. `None`: it was special.
    #[must_use]
    pub fn folio(&self) -> Option<PageRef> {
        self.head
    }
    /// The page that the first entry mapped, or began to map. Its struct page may be looked at only where there is a
    /// folio.
    #[must_use]
    pub fn first(&self) -> PageRef {
        page_of(self.output.pfn())
    }
    /// How many entries.
    #[must_use]
    pub fn entries(&self) -> u32 {
        self.entries
    }
}

/// What a run of `N` entries held that was broken, flushed and made anew. No TLB holds it.
#[must_use = "what is no longer used must be given to a gather; what is, must be kept in words"]
#[derive(Debug)]
pub struct Displaced<const N: usize> {
    descs: [Desc; N],
    level: Level,
}

impl<const N: usize> Displaced<N> {
    pub(super) fn new(descs: [Desc; N], level: Level) -> Self {
        Displaced { descs, level }
    }
    /// The descriptors that stood there.
    #[must_use]
    pub fn descs(&self) -> &[Desc; N] {
        &self.descs
    }
    /// Nothing of it is to be given up: other entries map it and have the references now, or it is nobody's.
    pub fn keep(self) {}

    pub(super) fn each(self) -> impl Iterator<Item = Old> {
        let level = self.level;
        self.descs.into_iter().map(move |desc| Old { desc, level })
    }
}
