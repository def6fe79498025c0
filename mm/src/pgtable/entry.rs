//! The only writer of live entries.
//!
//! Each operation is one row of the rule in [`arch::bbm`], and debug builds hold each store against that rule and
//! against the lock of its tree (`verify`).
#![forbid(unsafe_code)]

use core::marker::PhantomData;

use arch::addr::ENTRIES_PER_TABLE;
use arch::contract::Depth;
use arch::pte::{Kind, PteFlags};
use arch::{Desc, Level, Machine, PhysAddr, PhysMem, VirtAddr};

use super::flush::{FlushRange, Flusher};
use super::gather::Gather;
use super::root::PtRoot;
use super::verify;
use crate::stats::Counter;

/// One descriptor of a live tree, under the tree's lock.
#[must_use]
pub struct Entry<'l> {
    slot: PhysAddr,
    level: Level,
    va: VirtAddr,
    flusher: Flusher<'l>,
    tree: PhantomData<&'l mut PtRoot>,
}

/// A run of entries of one table that are invalid, while TLBs may still hold what they were. Must be flushed.
#[must_use = "a broken entry must be flushed and made: until then its address has no translation"]
pub struct Broken<'l> {
    first: Entry<'l>,
    count: usize,
    range: FlushRange,
}

/// A run of entries of one table that are invalid, and no TLB holds what they were.
#[must_use = "a clean entry must be made: until then its address has no translation"]
pub struct Clean<'l> {
    first: Entry<'l>,
    count: usize,
}

impl<'l> Entry<'l> {
    pub(super) fn new(slot: PhysAddr, level: Level, va: VirtAddr, flusher: Flusher<'l>) -> Self {
        let va = va.align_down(level.entry_bytes());
        Entry { slot, level, va, flusher, tree: PhantomData }
    }
    /// What stands there now.
    #[must_use]
    pub fn desc(&self) -> Desc {
        Machine::read_desc(self.slot)
    }
    /// Where it stands.
    #[must_use]
    pub fn slot(&self) -> PhysAddr {
        self.slot
    }
    /// The first address that it translates.
    #[must_use]
    pub fn va(&self) -> VirtAddr {
        self.va
    }
    /// The level of its table.
    #[must_use]
    pub fn level(&self) -> Level {
        self.level
    }

    /// Makes an invalid entry valid. Nothing is owed: TLBs do not hold invalid descriptors.
    ///
    /// # Panics
    /// The entry is valid: only [`Clean::make`] may follow a break.
    pub fn make(self, new: Desc) {
        let old = self.desc();
        assert!(!old.is_valid(), "make of {new} at {}, which holds {old}", self.va);
        self.store(new);
        self.flusher.publish();
    }

    /// Grants more: write permission, the access flag. The old translation is flushed at once, so that the
    /// access which asked for it does not fault again.
    pub fn relax(self, new: Desc) {
        self.store(new);
        self.flusher.flush(self.leaf_range());
    }

    /// Grants less. The flush is owed to `gather`.
    pub fn tighten(self, new: Desc, gather: &mut Gather<'_>) {
        self.store(new);
        gather.owe(self.leaf_range());
    }

    /// Makes the entry invalid and returns what it was. The flush is owed to `gather`, which must also be
    /// given the frame. A table comes with everything below it.
    #[must_use = "what was mapped must go to the gather"]
    pub fn clear(self, gather: &mut Gather<'_>) -> Desc {
        let old = self.desc();
        self.store(Desc::INVALID);
        gather.owe(self.range_of(old));
        old
    }

    /// Breaks this entry, and the `count - 1` that follow it in the same table: stores an invalid descriptor in
    /// each, and tells `each` the index and what stood there. Accesses fault until [`Clean::make`].
    ///
    /// # Panics
    /// The run leaves the table.
    pub fn break_live(self, count: usize, mut each: impl FnMut(&Entry<'_>, Desc)) -> Broken<'l> {
        let index = self.va.index(self.level);
        assert!((1..=ENTRIES_PER_TABLE - index).contains(&count), "a run of {count} leaves the table");
        let mut range = self.range_of(self.desc());
        range.end = self.va.add(count as u64 * self.level.entry_bytes());
        for n in 0..count {
            let entry = self.nth(n);
            let old = entry.desc();
            entry.store(Desc::INVALID);
            self.flusher.stats().inc(Counter::PteBreak);
            each(&entry, old);
        }
        Broken { first: self, count, range }
    }

    fn nth(&self, n: usize) -> Entry<'l> {
        let slot = self.slot.add(8 * n as u64);
        Entry::new(slot, self.level, self.va.add(n as u64 * self.level.entry_bytes()), self.flusher)
    }

    fn store(&self, new: Desc) {
        if cfg!(debug_assertions) {
            verify::store(self, new, self.flusher.table_lock());
        }
        Machine::write_desc(self.slot, new);
        self.flusher.stats().inc(Counter::PteStore);
    }

    /// What a TLB may hold because of this entry, if it was a leaf before and after.
    fn leaf_range(&self) -> FlushRange {
        let end = self.va.add(self.level.entry_bytes());
        FlushRange { start: self.va, end, level: Some(self.level), depth: Depth::LeafOnly }
    }

    /// What a TLB may hold because of `old` in this place: one leaf, or a table and any leaves below.
    fn range_of(&self, old: Desc) -> FlushRange {
        match old.kind(self.level) {
            Kind::Table => FlushRange { level: None, depth: Depth::AllLevels, ..self.leaf_range() },
            Kind::Block | Kind::Page | Kind::Invalid => self.leaf_range(),
        }
    }
}

impl<'l> Broken<'l> {
    /// Removes what the entries were from every TLB, and waits until no CPU uses it.
    pub fn flush(self) -> Clean<'l> {
        self.first.flusher.flush(self.range);
        Clean { first: self.first, count: self.count }
    }
}

impl Clean<'_> {
    /// Makes every entry of the run: `new` gives the descriptor for each, `made` is told after each store.
    pub fn make(self, mut new: impl FnMut(usize) -> Desc, mut made: impl FnMut(&Entry<'_>, Desc)) {
        for n in 0..self.count {
            let entry = self.first.nth(n);
            let desc = new(n);
            entry.store(desc);
            made(&entry, desc);
        }
        self.first.flusher.publish();
    }
}

/// The rights of `flags` without write permission.
#[must_use]
pub fn read_only(flags: PteFlags) -> PteFlags {
    flags | PteFlags::READ_ONLY
}
