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
use crate::page::PageRef;

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

/// What an entry held that was cleared, or each of a run of entries that mapped consecutive frames, while TLBs may
/// still hold it too. Only the gather `'g`, to which the flush is owed, takes it: [`super::Gather::hold`]. A table
/// comes with everything below it.
#[must_use = "what was unmapped must be given to the gather; otherwise its memory is lost"]
#[derive(Debug)]
pub struct Unmapped<'g> {
    pub(super) old: Old,
    entries: u32,
    gather: Brand<'g>,
}

impl Unmapped<'_> {
    pub(super) fn new(desc: Desc, level: Level) -> Self {
        Unmapped::run(desc, level, 1)
    }
    /// What `entries` leaves held, the first of which was `desc`.
    pub(super) fn run(desc: Desc, level: Level, entries: u32) -> Self {
        Unmapped { old: Old { desc, level }, entries, gather: PhantomData }
    }
    /// How many entries.
    #[must_use]
    pub fn entries(&self) -> u32 {
        self.entries
    }
    /// Takes what the first `n` of the run held; the rest stays. `n` is at most all of them, and then nothing is left
    /// that anybody must hold.
    pub fn take(&mut self, n: u32) -> Self {
        debug_assert!(n <= self.entries, "{n} entries taken of {}", self.entries);
        let first = self.old;
        let rest = first.desc.raw() + u64::from(n) * first.level.entry_bytes();
        self.old.desc = if n == self.entries { Desc::INVALID } else { Desc::from_raw(rest) };
        self.entries -= n;
        Unmapped::run(first.desc, first.level, n)
    }
    /// The descriptor that stood there, or in the first entry.
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
    /// The level of their table.
    pub(super) fn level(&self) -> Level {
        self.level
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
