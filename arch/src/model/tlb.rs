//! What a vCPU holds of the tables, and which TLBI removes it.
//!
//! Leaves and tables (the walk cache) live in one map. A leaf is tagged global or with an ASID as its nG bit says; a
//! table is always tagged with the ASID that was current, whichever half it translates: a TLBI by ASID does
//! not reach what another ASID cached of the kernel's tables (D8.14.5, "entries from a level of lookup above
//! the final level").

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use crate::addr::{Asid, Level, PAGE_SIZE, PhysAddr, VirtAddr};
use crate::contract::{Depth, FlushScope, MAX_RANGE_PAGES, Tag, Tlbi};
use crate::pte::{Desc, Kind, PteFlags};

/// Which ASIDs a held entry translates for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum HeldBy {
    /// All of them.
    Global,
    /// One.
    Asid(Asid),
}

/// A descriptor that was walked and is held.
#[derive(Clone, Copy, Debug)]
pub(super) struct Held {
    pub(super) desc: Desc,
    pub(super) level: Level,
    /// Where the descriptor stood.
    pub(super) source: PhysAddr,
    pub(super) by: HeldBy,
    /// When it was filled.
    pub(super) since: u64,
}

impl Held {
    /// A descriptor walked under `asid`, with its tag.
    pub(super) fn new(desc: Desc, level: Level, source: PhysAddr, asid: Asid, since: u64) -> Self {
        let global = desc.is_leaf(level) && !desc.flags(level).contains(PteFlags::NOT_GLOBAL);
        let by = if global { HeldBy::Global } else { HeldBy::Asid(asid) };
        Held { desc, level, source, by, since }
    }

    pub(super) fn is_table(&self) -> bool {
        self.desc.kind(self.level) == Kind::Table
    }

    fn serves(&self, asid: Asid) -> bool {
        self.by == HeldBy::Global || self.by == HeldBy::Asid(asid)
    }
}

/// A region of one entry's size: level and VA above its shift, in one number.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Slot(u64);

impl Slot {
    fn of(va: VirtAddr, level: Level) -> Self {
        Slot(va.raw() >> level.shift() << 2 | level as u64)
    }
    fn level(self) -> Level {
        Level::ALL[(self.0 & 3) as usize]
    }
    fn start(self) -> VirtAddr {
        VirtAddr::new(self.0 >> 2 << self.level().shift())
    }
}

/// Multiplicative hashing of the one number of a [`Slot`].
#[derive(Default)]
struct SlotHasher(u64);

impl Hasher for SlotHasher {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.write_u64(byte.into());
        }
    }
    fn write_u64(&mut self, n: u64) {
        self.0 = (self.0 ^ n).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29);
    }
}

/// What a lookup finds.
#[derive(Clone, Copy, Debug)]
pub(super) enum Found {
    /// Nothing: walk.
    Nothing,
    /// One leaf.
    One(Held),
    /// Leaves of different sizes; the one held longest.
    Sizes(Held),
    /// Several leaves of one size.
    Clash(Held),
}

/// A TLBI that was issued and has not completed.
#[derive(Clone, Debug)]
pub(super) struct Pending {
    pub(super) op: Tlbi,
    pub(super) scope: FlushScope,
    /// When it was issued: what is filled later stays.
    pub(super) issued: u64,
    /// Descriptors whose stores were not ordered before it: what was made from them stays.
    pub(super) unordered: Vec<PhysAddr>,
}

/// The TLB and walk cache of one vCPU.
#[derive(Default)]
pub(super) struct Tlb {
    slots: HashMap<Slot, Vec<Held>, BuildHasherDefault<SlotHasher>>,
}

/// Levels that have leaves, smallest first.
const LEAF_LEVELS: [Level; 3] = [Level::L3, Level::L2, Level::L1];
/// Levels that have tables, deepest first.
const TABLE_LEVELS: [Level; 3] = [Level::L2, Level::L1, Level::L0];

impl Tlb {
    /// Holds an entry for the region around `va`.
    pub(super) fn hold(&mut self, va: VirtAddr, entry: Held) {
        self.slots.entry(Slot::of(va, entry.level)).or_default().push(entry);
    }

    /// The leaf that translates `va` under `asid`.
    pub(super) fn leaf(&self, va: VirtAddr, asid: Asid) -> Found {
        let mut found = Found::Nothing;
        for level in LEAF_LEVELS {
            for entry in self.held(va, level).iter().filter(|e| !e.is_table() && e.serves(asid)) {
                found = match found {
                    Found::Nothing => Found::One(*entry),
                    Found::One(first) if first.level != level => {
                        Found::Sizes(if first.since < entry.since { first } else { *entry })
                    }
                    Found::One(first) | Found::Sizes(first) | Found::Clash(first) => Found::Clash(first),
                };
            }
        }
        found
    }

    /// The deepest table held on the way to `va`.
    pub(super) fn table(&self, va: VirtAddr, asid: Asid) -> Option<Held> {
        let held = |level| self.held(va, level).iter().find(|e| e.is_table() && e.serves(asid)).copied();
        TABLE_LEVELS.into_iter().find_map(held)
    }

    /// Forgets the leaf that was made from `source`, as if hardware had evicted it.
    pub(super) fn evict(&mut self, va: VirtAddr, leaf: &Held) {
        if let Some(entries) = self.slots.get_mut(&Slot::of(va, leaf.level)) {
            entries.retain(|e| e.source != leaf.source || e.is_table());
        }
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        self.slots.clear();
    }

    /// Completes a TLBI: what it covers leaves.
    pub(super) fn complete(&mut self, tlbi: &Pending, ttl: bool) {
        let stays = |slot: Slot, e: &Held| {
            e.since > tlbi.issued || tlbi.unordered.contains(&e.source) || !covers(&tlbi.op, slot, e, ttl)
        };
        if let Some((start, pages)) = span(&tlbi.op)
            && pages.saturating_mul(4) < self.slots.len() as u64
        {
            for page in 0..pages {
                let va = start.add(page * PAGE_SIZE);
                for slot in Level::ALL.map(|level| Slot::of(va, level)) {
                    if let Some(entries) = self.slots.get_mut(&slot) {
                        entries.retain(|e| stays(slot, e));
                    }
                }
            }
        } else {
            self.slots.retain(|&slot, entries| {
                entries.retain(|e| stays(slot, e));
                !entries.is_empty()
            });
        }
    }

    /// What is held of `level` for the region around `va`: leaves and tables, of any ASID.
    pub(super) fn held(&self, va: VirtAddr, level: Level) -> &[Held] {
        self.slots.get(&Slot::of(va, level)).map_or(&[], Vec::as_slice)
    }

    /// The leaves of deeper levels than `level` held inside the region around `va`, with their addresses.
    pub(super) fn leaves_below(&self, va: VirtAddr, level: Level) -> Vec<(VirtAddr, Held)> {
        let region = Slot::of(va, level);
        let mut leaves = Vec::new();
        for (slot, entries) in &self.slots {
            if slot.level() > level && Slot::of(slot.start(), level) == region {
                leaves.extend(entries.iter().filter(|e| !e.is_table()).map(|e| (slot.start(), *e)));
            }
        }
        leaves
    }

    /// Everything held.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Held> {
        self.slots.values().flatten()
    }
}

/// The first address and the pages that a TLBI by address names.
fn span(op: &Tlbi) -> Option<(VirtAddr, u64)> {
    match *op {
        Tlbi::Va { va, .. } => Some((va.align_down(PAGE_SIZE), 1)),
        Tlbi::Range { start, pages, .. } => Some((start, pages)),
        Tlbi::Asid(_) | Tlbi::All => None,
    }
}

/// Whether the TLBI is well formed; panics in words where it is not.
pub(super) fn validate(op: &Tlbi) {
    if let Tlbi::Range { start, pages, .. } = *op {
        assert!(start.is_aligned(PAGE_SIZE), "model: TLBI range from {start}, not a page");
        assert!((1..=MAX_RANGE_PAGES).contains(&pages), "model: TLBI range of {pages} pages");
    }
}

/// Whether the TLBI must remove an entry (D8.14.5). `ttl`: level hints are looked at.
fn covers(op: &Tlbi, slot: Slot, entry: &Held, ttl: bool) -> bool {
    match *op {
        Tlbi::All => true,
        Tlbi::Asid(asid) => entry.by == HeldBy::Asid(asid),
        Tlbi::Va { tag, depth, level, .. } | Tlbi::Range { tag, depth, level, .. } => {
            names(op, slot) && tagged(tag, entry) && reaches(depth, level.filter(|_| ttl), entry)
        }
    }
}

/// Whether a TLBI by address names part of the slot's region.
fn names(op: &Tlbi, slot: Slot) -> bool {
    let Some((start, pages)) = span(op) else { return true };
    let (from, last) = (start.raw(), start.raw() + (pages * PAGE_SIZE - 1));
    let slot_last = slot.start().raw() + (slot.level().entry_bytes() - 1);
    from <= slot_last && slot.start().raw() <= last
}

fn tagged(tag: Tag, entry: &Held) -> bool {
    match tag {
        Tag::AllAsids => true,
        Tag::Asid(asid) => entry.serves(asid),
    }
}

/// A hint says at which level the leaf stands: a leaf of another level need not leave, nor a table at or
/// below the hinted level, for there can be none.
fn reaches(depth: Depth, hint: Option<Level>, entry: &Held) -> bool {
    if entry.is_table() {
        depth == Depth::AllLevels && hint.is_none_or(|leaf| entry.level < leaf)
    } else {
        hint.is_none_or(|leaf| entry.level == leaf)
    }
}
