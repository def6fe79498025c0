//! The only writer of live entries.
//!
//! Each operation is one row of the rule in [`arch::bbm`], and debug builds hold each store against that rule and
//! against the lock of its tree (`verify`). What changes one entry of a folded group unfolds it first, or changes all
//! of it ([`super::fold`]).
#![forbid(unsafe_code)]

use core::marker::PhantomData;
use core::mem::ManuallyDrop;

use arch::addr::{ENTRIES_PER_TABLE, PAGE_SIZE};
use arch::contract::Depth;
use arch::pte::{Kind, PteFlags};
use arch::{Desc, Level, Machine, PhysAddr, PhysMem, VirtAddr};

use super::flush::{FlushRange, Flusher};
use super::gather::Gather;
use super::root::PtRoot;
use super::table::LooseEntries;
use super::unlinked::{Displaced, Unmapped};
use super::verify;

/// One descriptor of a live tree, under the tree's lock.
#[must_use]
pub struct Entry<'l> {
    slot: PhysAddr,
    level: Level,
    va: VirtAddr,
    flusher: Flusher<'l>,
    tree: PhantomData<&'l mut PtRoot>,
}

/// A run of `N` entries of one table that are invalid, while TLBs may still hold what they were. If it is dropped
/// it is flushed all the same, so that no entry of the tree can be had meanwhile, and made, that is not flushed.
#[must_use = "a broken entry must be flushed and made: until then its address has no translation"]
pub struct Broken<'l, const N: usize> {
    first: Entry<'l>,
    old: [Desc; N],
    owed: Owed<'l>,
}

/// A run of `N` entries of one table that are invalid, and no TLB holds what they were.
#[must_use = "a clean entry must be made: until then its address has no translation"]
pub struct Clean<'l, const N: usize> {
    first: Entry<'l>,
    old: [Desc; N],
}

/// A flush that is owed. It is done when this is dropped, unless a panic unwinds.
pub(super) struct Owed<'l> {
    flusher: Flusher<'l>,
    range: FlushRange,
}

impl Owed<'_> {
    /// Does it now.
    #[inline(always)]
    pub(super) fn pay(self) {
        let owed = ManuallyDrop::new(self);
        owed.flusher.flush(owed.range);
    }
}

impl Drop for Owed<'_> {
    #[inline]
    fn drop(&mut self) {
        if !arch::unwinding() {
            self.flusher.flush(self.range);
        }
    }
}

impl<'l> Entry<'l> {
    pub(super) fn new(slot: PhysAddr, level: Level, va: VirtAddr, flusher: Flusher<'l>) -> Self {
        let va = va.align_down(level.entry_bytes());
        Entry { slot, level, va, flusher, tree: PhantomData }
    }
    /// What stands there now.
    #[must_use]
    #[inline(always)]
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

    pub(super) fn flusher(&self) -> &Flusher<'l> {
        &self.flusher
    }

    /// The table in which it stands.
    #[must_use]
    pub fn table(&self) -> PhysAddr {
        PhysAddr::new(self.slot.raw() & !(PAGE_SIZE - 1))
    }

    /// Makes an invalid entry valid. Nothing is owed: TLBs do not hold invalid descriptors.
    ///
    /// # Panics
    /// The entry is valid: only [`Clean::make`] may follow a break. Or a migration entry stands there, which
    /// [`Self::end_migration`] replaces.
    #[inline(always)]
    pub fn make(self, new: Desc) {
        let old = self.desc();
        if !old.is_empty() {
            is_taken(self.va, old, new);
        }
        self.store_from_invalid(new);
    }

    /// Replaces an invalid descriptor, of which no TLB holds anything. Nothing is owed. Its group is not folded.
    #[inline(always)]
    pub(super) fn store_from_invalid(self, new: Desc) {
        self.store(new.alone());
        if new.is_valid() {
            self.flusher.publish();
        }
    }

    /// Grants more than `old`, which stands there: write permission, the access flag. The old translation is flushed at
    /// once, so that the access which asked for it does not fault again.
    #[inline(always)]
    pub fn relax(self, old: Desc, new: Desc) {
        debug_assert!(old.with_also(PteFlags::ACCESSED) == self.desc().with_also(PteFlags::ACCESSED));
        if old.is_contiguous() {
            return self.relax_folded(new);
        }
        self.store(new.alone());
        self.flusher.flush(self.leaf_range());
    }

    /// Grants less. The flush is owed to `gather`.
    pub fn tighten(self, new: Desc, gather: &mut Gather<'_>) {
        self.unfold();
        self.store(new.alone());
        gather.owe(self.flusher, self.leaf_range());
    }

    /// Asks `new` of this entry and of those that follow it in the same table, `count` in all, and stores what it
    /// answers, which grants less. The flush, one range for all, is owed to `gather`.
    ///
    /// # Panics
    /// The run leaves the table.
    pub fn tighten_run(
        self,
        count: usize,
        gather: &mut Gather<'_>,
        mut new: impl FnMut(usize, Desc) -> Option<Desc>,
    ) {
        self.assert_run(count);
        let (mut stores, mut first, mut last) = (0, 0, 0);
        let mut next = 0;
        while next < count {
            let n = next;
            let slot = self.slot.add(8 * n as u64);
            let old = Machine::read_desc(slot);
            if old.is_contiguous() {
                next += self.nth(n).tighten_folded(count - n, gather, |m, old| new(n + m, old));
                continue;
            }
            next += 1;
            if let Some(desc) = new(n, old) {
                if cfg!(debug_assertions) {
                    self.nth(n).verify(desc);
                }
                Machine::write_desc(slot, desc);
                first = if stores == 0 { n } else { first };
                (stores, last) = (stores + 1, n);
            }
        }
        if stores == 0 {
            return;
        }
        self.flusher.note_stores(stores, (self.nth(first).va, self.level));
        let range = FlushRange { end: self.nth(last).leaf_range().end, ..self.nth(first).leaf_range() };
        gather.owe(self.flusher, range);
    }

    pub(super) fn assert_run(&self, count: usize) {
        let index = self.va.index(self.level);
        assert!(count <= ENTRIES_PER_TABLE - index, "a run of {count} leaves the table");
    }

    /// Clears the access flag of a leaf. Whether it was set; the flush is owed to `gather` then. By compare and swap:
    /// where hardware manages the flag, or dirty state, it may set either between a load and a store. Of a folded group
    /// it is the flag of all 16 entries.
    ///
    /// # Panics
    /// No leaf stands here.
    pub fn clear_accessed(self, gather: &mut Gather<'_>) -> bool {
        if self.desc().is_contiguous() {
            return self.clear_accessed_folded(gather);
        }
        let accessed = self.swap_accessed();
        if accessed {
            gather.owe(self.flusher, self.leaf_range());
        }
        accessed
    }

    /// Clears the access flag of this leaf alone. Whether it was set; the flush is owed then.
    pub(super) fn swap_accessed(&self) -> bool {
        let mut old = self.desc();
        loop {
            assert!(old.is_leaf(self.level), "{old} at {} is no leaf", self.va);
            let flags = old.flags(self.level);
            if !flags.contains(PteFlags::ACCESSED) {
                return false;
            }
            let new = old.with_flags(self.level, flags.difference(PteFlags::ACCESSED));
            self.verify(new);
            match Machine::cas_desc(self.slot, old, new) {
                Ok(()) => break,
                Err(now) => old = now,
            }
        }
        self.flusher.note_stores(1, (self.va, self.level));
        true
    }

    /// Makes the entry invalid and returns what it held, which goes to the same `gather` that now owes the flush.
    pub fn clear<'g>(self, gather: &mut Gather<'g>) -> Unmapped<'g> {
        self.clear_to(Desc::INVALID, gather)
    }

    /// As [`Self::clear`], and leaves this invalid descriptor.
    pub(super) fn clear_to<'g>(self, invalid: Desc, gather: &mut Gather<'g>) -> Unmapped<'g> {
        debug_assert!(!invalid.is_valid());
        self.unfold();
        let old = self.desc();
        self.store(invalid);
        gather.owe(self.flusher, self.range_of(old));
        Unmapped::new(old, self.level)
    }

    /// Breaks this entry, and the `N - 1` that follow it in the same table: stores an invalid descriptor in
    /// each, and tells `each` the entry and what stood there. Accesses fault until [`Clean::make`].
    ///
    /// # Panics
    /// The run leaves the table.
    pub fn break_live<const N: usize>(self, each: impl FnMut(&Entry<'_>, Desc)) -> Broken<'l, N> {
        let mut old = self.run();
        if old.iter().any(|desc| desc.is_contiguous()) {
            (0..N).for_each(|n| self.nth(n).unfold());
            old = self.run();
        }
        self.break_these(old, each)
    }

    /// As [`Self::break_live`], of entries that are all of a group or of none.
    #[inline(always)]
    pub(super) fn break_run<const N: usize>(self, each: impl FnMut(&Entry<'_>, Desc)) -> Broken<'l, N> {
        let old = self.run();
        self.break_these(old, each)
    }

    /// What this entry holds, and those that follow it.
    #[inline(always)]
    fn run<const N: usize>(&self) -> [Desc; N] {
        const { assert!(N >= 1) };
        self.assert_run(N);
        core::array::from_fn(|n| Machine::read_desc(self.slot.add(8 * n as u64)))
    }

    /// As [`Self::break_run`], of entries that are known to be `old`.
    #[inline(always)]
    pub(super) fn break_these<const N: usize>(
        self,
        old: [Desc; N],
        mut each: impl FnMut(&Entry<'_>, Desc),
    ) -> Broken<'l, N> {
        for (n, &old) in old.iter().enumerate() {
            let entry = self.nth(n);
            entry.put(Desc::INVALID);
            each(&entry, old);
        }
        self.flusher.note_stores(N as u64, (self.va, self.level));
        self.flusher.note_breaks(N as u64, (self.va, self.level));
        let range = FlushRange { end: self.end(N), ..self.range_of(old[0]) };
        let owed = Owed { flusher: self.flusher, range };
        Broken { first: self, old, owed }
    }

    /// The one that stands `n` entries after it. It must be in the same table, so nothing overflows, and nothing is spent
    /// on looking.
    #[inline(always)]
    pub(super) fn nth(&self, n: usize) -> Entry<'l> {
        let slot = PhysAddr::new(self.slot.raw().wrapping_add(8 * n as u64));
        Entry::new(slot, self.level, self.end(n), self.flusher)
    }

    /// One past what this entry and those that follow it translate, `n` in all, which are in the same table.
    #[inline(always)]
    fn end(&self, n: usize) -> VirtAddr {
        VirtAddr::new(self.va.raw().wrapping_add((n as u64).wrapping_mul(self.level.entry_bytes())))
    }

    /// The one that stands `n` entries before it in the same table.
    pub(super) fn back(&self, n: usize) -> Entry<'l> {
        let (slot, bytes) = (self.slot.raw() - 8 * n as u64, n as u64 * self.level.entry_bytes());
        let va = VirtAddr::new(self.va.raw() - bytes);
        Entry::new(PhysAddr::new(slot), self.level, va, self.flusher)
    }

    /// The flush of what stands here, which is about to be replaced.
    pub(super) fn owed(&self) -> Owed<'l> {
        Owed { flusher: self.flusher, range: self.range_of(self.desc()) }
    }

    #[inline(always)]
    pub(super) fn store(&self, new: Desc) {
        self.put(new);
        self.flusher.note_stores(1, (self.va, self.level));
    }

    /// As [`Self::store`], for who counts the stores of a run himself.
    #[inline(always)]
    pub(super) fn put(&self, new: Desc) {
        self.verify(new);
        Machine::write_desc(self.slot, new);
    }

    /// Holds a store against the rule, in debug builds.
    pub(super) fn verify(&self, new: Desc) {
        if cfg!(debug_assertions) {
            verify::store(self, new, self.flusher.table_lock());
        }
    }

    /// What a TLB may hold because of this entry, if it was a leaf before and after.
    pub(super) fn leaf_range(&self) -> FlushRange {
        FlushRange { start: self.va, end: self.end(1), level: Some(self.level), depth: Depth::LeafOnly }
    }

    /// What a TLB may hold because of `old` in this place: one leaf, or a table and any leaves below.
    fn range_of(&self, old: Desc) -> FlushRange {
        match old.kind(self.level) {
            Kind::Table => FlushRange { level: None, depth: Depth::AllLevels, ..self.leaf_range() },
            Kind::Block | Kind::Page | Kind::Invalid => self.leaf_range(),
        }
    }
}

impl<'l, const N: usize> Broken<'l, N> {
    /// Removes what the entries were from every TLB, and waits until no CPU uses it.
    #[inline(always)]
    pub fn flush(self) -> Clean<'l, N> {
        let Broken { first, old, owed } = self;
        owed.pay();
        Clean { first, old }
    }
}

impl Clean<'_, 1> {
    /// The entries of the table to which the entry led. No TLB holds anything of them and no walker comes to them
    /// before the entry is made again, so they may be written as those of a table that was never linked. `None`: it led
    /// to no table.
    pub fn below(&mut self) -> Option<LooseEntries<'_>> {
        let [old] = self.old;
        (old.kind(self.first.level) == Kind::Table)
            .then(|| LooseEntries::unreachable(old.output(self.first.level)))
    }
}

impl<const N: usize> Clean<'_, N> {
    /// Makes every entry of the run: `new` gives the descriptor for each, `made` is told after each store.
    /// Returns what they held before.
    #[inline(always)]
    pub fn make(
        self,
        mut new: impl FnMut(usize) -> Desc,
        mut made: impl FnMut(&Entry<'_>, Desc),
    ) -> Displaced<N> {
        for n in 0..N {
            let entry = self.first.nth(n);
            let desc = new(n);
            entry.put(desc);
            made(&entry, desc);
        }
        let Entry { va, level, flusher, .. } = self.first;
        flusher.note_stores(N as u64, (va, level));
        flusher.note_makes(N as u64, (va, level));
        self.first.flusher.publish();
        Displaced::new(self.old, self.first.level)
    }
}

#[cold]
#[inline(never)]
fn is_taken(va: VirtAddr, old: Desc, new: Desc) -> ! {
    panic!("make of {new} at {va}, which holds {old}");
}
