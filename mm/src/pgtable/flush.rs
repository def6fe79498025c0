//! The only caller of TLBI in `mm` that reaches other CPUs. Where ASIDs begin anew, and after a conflict abort, a CPU drops
//! what it holds itself.
//!
//! [`Flusher::flush`] is one whole round: DSB ISHST (the stores are visible to every walker), TLBIs, DSB ISH
//! (no CPU uses the old translations any more), and ISB where kernel addresses were concerned (D8.14.5).
#![forbid(unsafe_code)]

use core::sync::atomic::{AtomicU64, Ordering};

use arch::addr::PAGE_SIZE;
use arch::contract::{Depth, MAX_RANGE_PAGES, Tag};
use arch::sync::Rank;
use arch::{Asid, Dsb, FlushScope, Level, Machine, Mmu, Tlbi, VirtAddr};

use super::runs::Run;
use crate::locks;
use crate::stats::Stats;
use crate::trace::Point;

/// So many single operations or more, and everything of the tag is dropped instead (Linux: `MAX_DVM_OPS`).
pub const MAX_OPS: u64 = 512;

/// The ASID of an address space, with the generation in which it was given. Read by a flush *after* its
/// first DSB: a CPU that installs the space under a new ASID later than that has seen the stores.
#[derive(Debug, Default)]
pub struct AsidCell(AtomicU64);

impl AsidCell {
    /// No ASID yet.
    #[must_use]
    pub const fn new() -> Self {
        AsidCell(AtomicU64::new(0))
    }
    /// The ASID that was given last; [`Asid::NONE`] before the first.
    #[must_use]
    #[inline]
    pub fn asid(&self) -> Asid {
        Asid::new(self.raw() as u16)
    }
    /// Generation (upper 48 bits) and ASID (lower 16).
    #[must_use]
    #[inline]
    pub fn raw(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }
    /// Stores generation and ASID.
    pub fn set_raw(&self, raw: u64) {
        self.0.store(raw, Ordering::SeqCst);
    }
}

/// Whose translations a tree's changes make stale.
#[derive(Clone, Copy, Debug)]
pub enum FlushTag<'a> {
    /// The kernel's half: global entries.
    Kernel,
    /// A user root, tagged with this ASID.
    User(&'a AsidCell),
}

impl FlushTag<'_> {
    fn tag(self) -> Tag {
        match self {
            FlushTag::Kernel => Tag::AllAsids,
            FlushTag::User(cell) => Tag::Asid(cell.asid()),
        }
    }
}

/// What a flush covers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FlushRange {
    /// First address; aligned to 4 KiB.
    pub start: VirtAddr,
    /// One past the last address.
    pub end: VirtAddr,
    /// The level of every leaf in the range, where that is known.
    pub level: Option<Level>,
    /// Whether tables left or arrived too.
    pub depth: Depth,
}

impl FlushRange {
    /// Whether it is what one entry of the level translates.
    #[inline(always)]
    fn is_one(&self) -> bool {
        let bytes = self.end.raw().wrapping_sub(self.start.raw());
        self.level.is_some_and(|level| bytes == level.entry_bytes())
    }
}

/// Flushes on behalf of one tree.
#[derive(Clone, Copy, Debug)]
pub struct Flusher<'a> {
    tag: FlushTag<'a>,
    stats: &'a Stats,
}

impl<'a> Flusher<'a> {
    /// For the tree with this tag.
    #[must_use]
    pub fn new(tag: FlushTag<'a>, stats: &'a Stats) -> Self {
        Flusher { tag, stats }
    }

    /// The rank of the lock that the tree stands in.
    pub(super) fn table_lock(&self) -> Rank {
        match self.tag {
            FlushTag::Kernel => locks::KERNEL_TABLE,
            FlushTag::User(_) => locks::PAGE_TABLE,
        }
    }
    /// Whether it flushes for the tree with this tag.
    pub(super) fn is_for(&self, tag: FlushTag<'_>) -> bool {
        match (self.tag, tag) {
            (FlushTag::Kernel, FlushTag::Kernel) => true,
            (FlushTag::User(own), FlushTag::User(other)) => core::ptr::eq(own, other),
            _ => false,
        }
    }

    /// Notes `n` stores to descriptors, the first of them in an entry for this address.
    #[inline(always)]
    pub(super) fn note_stores(&self, n: u64, (va, level): (VirtAddr, Level)) {
        self.stats.note(Point::Store, n, || [va.raw(), level as u64, 0, 0]);
    }
    /// Notes that `n` live entries were broken.
    #[inline(always)]
    pub(super) fn note_breaks(&self, n: u64, (va, level): (VirtAddr, Level)) {
        self.stats.note(Point::Break, n, || [va.raw(), level as u64, 0, 0]);
    }
    /// Notes that `n` broken entries were made.
    #[inline(always)]
    pub(super) fn note_makes(&self, n: u64, (va, level): (VirtAddr, Level)) {
        self.stats.note(Point::Make, 1, || [va.raw(), level as u64, n, 0]);
    }
    /// Notes that `n` groups, the first of them at this address, got the contiguous bit.
    #[inline(always)]
    pub(super) fn note_folds(&self, n: u64, va: VirtAddr) {
        self.stats.note(Point::Fold, n, || [va.raw(), 0, 0, 0]);
    }
    /// Notes that the group at this address lost it.
    #[inline(always)]
    pub(super) fn note_unfold(&self, va: VirtAddr) {
        self.stats.note(Point::Unfold, 1, || [va.raw(), 0, 0, 0]);
    }
    #[inline(always)]
    fn note_tlbi_va(&self, n: u64, (start, end): (VirtAddr, VirtAddr)) {
        self.stats.note(Point::TlbiVa, n, || [start.raw(), end.raw().wrapping_sub(start.raw()), 0, 0]);
    }
    fn note_tlbi_all(&self) {
        self.stats.note(Point::TlbiAll, 1, || [0; 4]);
    }

    /// Removes the translations of a range from every TLB, and waits until no CPU uses them.
    #[inline(always)]
    pub fn flush(&self, range: FlushRange) {
        self.round_begins(|| (range.start, range.end));
        self.invalidate(range);
        self.round_ends(|| range.start);
    }

    /// One round begins, of what is between two addresses.
    #[inline(always)]
    fn round_begins(&self, range: impl FnOnce() -> (VirtAddr, VirtAddr)) {
        self.stats.begin(Point::Flush, 1, || {
            let (start, end) = range();
            [start.raw(), end.raw().wrapping_sub(start.raw()), 0, 0]
        });
        Machine::dsb(Dsb::IshSt);
    }

    /// It ends where all CPUs have done it.
    #[inline(always)]
    fn round_ends(&self, start: impl FnOnce() -> VirtAddr) {
        Machine::dsb(Dsb::Ish);
        self.stats.end(Point::Flush, 0, || [start().raw(), 0, 0, 0]);
        self.synchronise_context();
    }

    /// As [`Self::flush`], of the leaves of `level` in several runs, with one wait for all.
    pub(super) fn flush_runs(&self, level: Level, runs: &[Run]) {
        let range = || {
            let start = runs.iter().map(|run| run.first).min().unwrap_or(VirtAddr::new(0));
            (start, runs.iter().map(|run| run.end(level.entry_bytes())).max().unwrap_or(start))
        };
        self.round_begins(range);
        self.invalidate_runs(level, runs);
        self.round_ends(|| range().0);
    }

    /// By one operation for all that lies between the first and the last, where the CPU has such; what it drops beside
    /// is read from the tables again, which costs less than many broadcasts. Else one for each entry, or, where these
    /// are many, one for everything.
    fn invalidate_runs(&self, level: Level, runs: &[Run]) {
        let (tag, depth, level) = (self.tag.tag(), Depth::LeafOnly, Some(level));
        let stride = level.map_or(PAGE_SIZE, Level::entry_bytes);
        let ends = |run: &Run| run.end(stride);
        let Some((start, end)) = runs.iter().map(|run| run.first).min().zip(runs.iter().map(ends).max())
        else {
            return;
        };
        let entries: u64 = runs.iter().map(|run| run.entries).sum();
        if Machine::features().tlbi_range && end.offset_from(start) <= MAX_RANGE_PAGES * PAGE_SIZE {
            return self.invalidate_many((start, end), level, depth);
        }
        if entries >= MAX_OPS {
            Machine::tlbi(Tlbi::All, FlushScope::Broadcast);
            self.note_tlbi_all();
            return;
        }
        for va in runs.iter().flat_map(|run| (0..run.entries).map(|n| run.first.add(n * stride))) {
            Machine::tlbi(Tlbi::Va { va, tag, depth, level }, FlushScope::Broadcast);
        }
        self.note_tlbi_va(entries, (start, end));
    }

    /// After a store that made an invalid descriptor valid: visible to walkers, and to this CPU's next
    /// instruction (I_WZCBG).
    pub(super) fn publish(&self) {
        Machine::dsb(Dsb::IshSt);
        self.synchronise_context();
    }

    /// A return to EL0 synchronises by itself, so only kernel addresses need the ISB.
    fn synchronise_context(&self) {
        if matches!(self.tag, FlushTag::Kernel) {
            Machine::isb();
        }
    }

    #[inline(always)]
    fn invalidate(&self, range: FlushRange) {
        let FlushRange { start, end, level, depth } = range;
        match self.tag {
            FlushTag::User(cell) if range.is_one() => {
                let tag = Tag::Asid(cell.asid());
                Machine::tlbi(Tlbi::Va { va: start, tag, depth, level }, FlushScope::Broadcast);
                self.note_tlbi_va(1, (start, end));
            }
            _ => self.invalidate_many((start, end), level, depth),
        }
    }

    fn invalidate_many(&self, (start, end): (VirtAddr, VirtAddr), level: Option<Level>, depth: Depth) {
        let tag = self.tag.tag();
        let pages = end.offset_from(start).div_ceil(PAGE_SIZE);
        let stride = level.map_or(PAGE_SIZE, Level::entry_bytes);
        let operations = pages.div_ceil(stride / PAGE_SIZE);
        let broadcast = |op| Machine::tlbi(op, FlushScope::Broadcast);
        let by_range = Machine::features().tlbi_range;
        if operations == 1 {
            broadcast(Tlbi::Va { va: start, tag, depth, level });
            self.note_tlbi_va(1, (start, end));
        } else if pages <= MAX_RANGE_PAGES && (by_range || operations < MAX_OPS) {
            // Without the feature this is one operation for each entry.
            broadcast(Tlbi::Range { start, pages, tag, depth, level });
            self.note_tlbi_va(if by_range { 1 } else { operations }, (start, end));
        } else if let Tag::Asid(asid) = tag {
            broadcast(Tlbi::Asid(asid));
            self.stats.note(Point::TlbiAsid, 1, || [asid.raw().into(), 0, 0, 0]);
        } else {
            broadcast(Tlbi::All);
            self.note_tlbi_all();
        }
    }
}
