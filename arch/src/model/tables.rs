//! Which pages of RAM are tables that hardware may walk.
//!
//! A page becomes a table when its root is installed or when a table descriptor that points to it is
//! stored into a table. It remains one for as long as a walk can get to it: from a root that is or was
//! installed, or from a stale descriptor. Whether one can is asked when it matters
//! ([`super::regime::Regime::reach`]), so a page may be known here that is a table no more.

use super::machine::State;
use super::ram::Ram;
use super::stale::NumberMap;
use crate::addr::{Asid, ENTRIES_PER_TABLE, Level, PAGE_SHIFT, PAGE_SIZE, PhysAddr, VirtAddr};
use crate::pte::{Desc, Kind};

/// A page that is or was a table.
#[derive(Clone, Copy, Debug)]
pub(super) struct Table {
    pub(super) level: Level,
    /// The first address that it translates.
    pub(super) va: VirtAddr,
    /// The descriptor that points to it; `None` for a root.
    pub(super) parent: Option<PhysAddr>,
    /// The level-0 table above it.
    pub(super) root: PhysAddr,
    /// Since when.
    pub(super) since: u64,
}

impl Table {
    /// The first address that the descriptor at `at` in this table translates.
    pub(super) fn va_of(&self, at: PhysAddr) -> VirtAddr {
        let index = (at.raw() % PAGE_SIZE) / 8;
        self.va.add(index * self.level.entry_bytes())
    }
}

/// The descriptors of the table in `page`, with where they stand.
pub(super) fn entries(ram: &Ram, page: PhysAddr) -> impl Iterator<Item = (PhysAddr, Desc)> {
    (0..ENTRIES_PER_TABLE as u64).map(move |n| page.add(8 * n)).map(|at| (at, ram.load(at)))
}

/// The tables of a machine.
pub(super) struct Tables {
    base: PhysAddr,
    /// Per page of RAM: whether `tables` knows it, so that other stores cost one load.
    marks: Box<[bool]>,
    tables: NumberMap<PhysAddr, Table>,
    /// When the descriptor in a place was stored, where that was later than its table became one.
    stored: NumberMap<PhysAddr, u64>,
}

impl Tables {
    pub(super) fn new(base: PhysAddr, bytes: u64) -> Self {
        let marks = vec![false; (bytes >> PAGE_SHIFT) as usize].into_boxed_slice();
        Tables { base, marks, tables: NumberMap::default(), stored: NumberMap::default() }
    }

    fn mark(&mut self, page: PhysAddr) -> Option<&mut bool> {
        let offset = page.raw().checked_sub(self.base.raw())?;
        self.marks.get_mut((offset >> PAGE_SHIFT) as usize)
    }

    /// The table that `at` lies in.
    pub(super) fn of(&self, at: PhysAddr) -> Option<Table> {
        let offset = at.raw().checked_sub(self.base.raw())?;
        let known = *self.marks.get((offset >> PAGE_SHIFT) as usize)?;
        if known { self.tables.get(&at.align_down(PAGE_SIZE)).copied() } else { None }
    }

    pub(super) fn insert(&mut self, page: PhysAddr, table: Table) {
        self.tables.insert(page, table);
        if let Some(mark) = self.mark(page) {
            *mark = true;
        }
    }

    pub(super) fn remove(&mut self, page: PhysAddr) {
        self.tables.remove(&page);
        if let Some(mark) = self.mark(page) {
            *mark = false;
        }
    }

    /// Takes notice of a store to `at` in a table.
    pub(super) fn stored(&mut self, at: PhysAddr, now: u64) {
        self.stored.insert(at, now);
    }

    /// Since when what stands at `at` in `table` has stood there.
    pub(super) fn since(&self, table: &Table, at: PhysAddr) -> u64 {
        self.stored.get(&at).map_or(table.since, |&stored| stored.max(table.since))
    }
}

/// Whether the descriptor at `at`, of `level`, points to the table in `page`.
pub(super) fn points_to(ram: &Ram, at: PhysAddr, level: Level, page: PhysAddr) -> bool {
    let desc = ram.load(at);
    desc.kind(level) == Kind::Table && desc.output(level) == page
}

/// Panics where `root` is no page of RAM.
pub(super) fn check_root(state: &State, root: PhysAddr) {
    assert!(
        root.is_aligned(PAGE_SIZE) && state.ram.contains(root, PAGE_SIZE),
        "model: root {root} is not a page of RAM"
    );
}

/// The ASID's width fits the machine.
pub(super) fn check_asid(state: &State, asid: Asid) {
    let bits = state.desc.features.asid_bits;
    assert!(u64::from(asid.raw()) >> bits == 0, "model: ASID {asid} has more than {bits} bits");
}
