//! What may be held although the tables say otherwise by now.
//!
//! A TLB or walk cache may hold any descriptor that was ever valid where a walk could get to it. While it
//! still stands there, that is nothing to remember: the tables tell. Once it is overwritten it becomes *stale*:
//! it stays here, with the vCPUs that may hold it, until a TLBI that covers it has completed on each of them.
//! Nothing else removes it, as a TLB that is large enough never evicts.
//!
//! | held as | tag | for |
//! |---|---|---|
//! | leaf | global, or the ASID under which the root was installed (nG) | one region, or 16 of them where the descriptor has the contiguous bit |
//! | table (walk cache) | that ASID; in the kernel's half any, which a TLBI by ASID does not reach | all below it |

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use super::cpus::Cpus;
use super::tlbi::{Pending, Reach, reach};
use crate::addr::{Asid, Level, PAGE_SIZE, PhysAddr, VirtAddr};
use crate::contiguous::{CONT_ENTRIES, group_bytes};
use crate::contract::{CpuId, Dsb};
use crate::pte::{Desc, Kind, PteFlags};

/// Which ASIDs an entry translates for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum HeldBy {
    /// All: a leaf without nG.
    Global,
    /// One.
    Asid(Asid),
    /// Held once for each: a table of the kernel's half.
    AnyAsid,
}

impl HeldBy {
    /// The tag of what is walked at `va` under `asid`.
    pub(super) fn of(desc: Desc, level: Level, va: VirtAddr, asid: Asid) -> Self {
        let leaf = desc.is_leaf(level);
        if leaf && !desc.flags(level).contains(PteFlags::NOT_GLOBAL) {
            HeldBy::Global
        } else if va.is_kernel() {
            HeldBy::AnyAsid
        } else {
            HeldBy::Asid(asid)
        }
    }

    /// The one ASID; none of a user space where it is held for all.
    pub(super) fn asid(self) -> Asid {
        match self {
            HeldBy::Asid(asid) => asid,
            HeldBy::Global | HeldBy::AnyAsid => Asid::NONE,
        }
    }

    pub(super) fn serves(self, asid: Asid) -> bool {
        match self {
            HeldBy::Global | HeldBy::AnyAsid => true,
            HeldBy::Asid(own) => own == asid,
        }
    }
}

/// Addresses that one entry translates.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Region {
    pub(super) start: VirtAddr,
    pub(super) bytes: u64,
}

impl Region {
    pub(super) fn overlaps(self, start: VirtAddr, pages: u64) -> bool {
        let (from, last) = (start.raw(), start.raw() + (pages * PAGE_SIZE - 1));
        from <= self.start.raw() + (self.bytes - 1) && self.start.raw() <= last
    }
    pub(super) fn contains(self, va: VirtAddr) -> bool {
        va.raw().wrapping_sub(self.start.raw()) < self.bytes
    }
}

/// Descriptors in a contiguous group.
pub(super) const GROUP: u64 = CONT_ENTRIES as u64;

/// A descriptor that was overwritten and may still be held.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stale {
    pub(super) desc: Desc,
    pub(super) level: Level,
    /// The first address that it translates.
    pub(super) va: VirtAddr,
    /// Where it stood.
    pub(super) source: PhysAddr,
    /// The level-0 table above it.
    pub(super) root: PhysAddr,
    pub(super) by: HeldBy,
    /// Who may hold it.
    pub(super) holders: Cpus,
    /// Who may hold the contiguous group of it as one entry.
    pub(super) group_holders: Cpus,
    /// Who overwrote it.
    pub(super) storer: CpuId,
    /// When that store became visible: to all walkers (DSB ISH or ISHST), and to the storer's (any DSB).
    pub(super) visible: u64,
    pub(super) visible_to_storer: u64,
    /// What it leads to has been given back: nobody could use the entry at that time.
    pub(super) gone: bool,
}

/// Not yet visible.
pub(super) const NEVER: u64 = u64::MAX;

impl Stale {
    pub(super) fn is_table(&self) -> bool {
        self.desc.kind(self.level) == Kind::Table
    }
    pub(super) fn region(&self) -> Region {
        Region { start: self.va, bytes: self.level.entry_bytes() }
    }
    /// The addresses of its contiguous group.
    pub(super) fn group(&self) -> Option<Region> {
        group_region(self.desc, self.level, self.va)
    }
    /// The same, held by these vCPUs, as one entry for its contiguous group too.
    pub(super) fn held_by(self, holders: Cpus) -> Stale {
        let group_holders = if self.group().is_some() { holders } else { Cpus::NONE };
        Stale { holders, group_holders, ..self }
    }
    /// Who may hold it, by itself or as its group.
    pub(super) fn anyone(&self) -> Cpus {
        self.holders | self.group_holders
    }
    /// Whether `cpu`, running under `asid`, may use it for an address of its own region.
    pub(super) fn usable(&self, cpu: CpuId, asid: Asid) -> bool {
        self.holders.has(cpu) && self.by.serves(asid)
    }
}

/// The addresses of the contiguous group that a leaf at `va` belongs to.
pub(super) fn group_region(desc: Desc, level: Level, va: VirtAddr) -> Option<Region> {
    let contiguous = desc.is_leaf(level) && desc.flags(level).contains(PteFlags::CONTIGUOUS);
    let bytes = group_bytes(level);
    contiguous.then(|| Region { start: va.align_down(bytes), bytes })
}

/// Level and VA above its shift, in one number.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Slot(u64);

impl Slot {
    fn of(va: VirtAddr, level: Level) -> Self {
        Slot(va.raw() >> level.shift() << 2 | level as u64)
    }
}

/// Multiplicative hashing of one number; the same in every run.
#[derive(Default, Clone)]
pub(super) struct NumberHasher(u64);

impl Hasher for NumberHasher {
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

/// A map whose order is the same in every run.
pub(super) type NumberMap<K, V> = HashMap<K, V, BuildHasherDefault<NumberHasher>>;

/// Levels that have leaves, smallest first.
pub(super) const LEAF_LEVELS: [Level; 3] = [Level::L3, Level::L2, Level::L1];
/// Levels that have tables, deepest first.
const TABLE_LEVELS: [Level; 3] = [Level::L2, Level::L1, Level::L0];

/// All stale entries of a machine.
#[derive(Default)]
pub(super) struct StaleSet {
    slots: NumberMap<Slot, Vec<Stale>>,
    /// Where the stale tables that point to a page stand in `slots`.
    tables: NumberMap<PhysAddr, Vec<Slot>>,
    /// A descriptor with the contiguous bit was among them once.
    groups: bool,
}

impl StaleSet {
    pub(super) fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// Adds an entry, or its holders to the same one.
    pub(super) fn add(&mut self, entry: Stale) {
        self.groups |= entry.group().is_some();
        let slot = Slot::of(entry.va, entry.level);
        if entry.is_table() {
            let slots = self.tables.entry(entry.desc.output(entry.level)).or_default();
            if !slots.contains(&slot) {
                slots.push(slot);
            }
        }
        let same = |e: &&mut Stale| (e.desc, e.source, e.by) == (entry.desc, entry.source, entry.by);
        let entries = self.slots.entry(slot).or_default();
        match entries.iter_mut().find(same) {
            Some(known) => {
                let (holders, group_holders) = (known.holders, known.group_holders);
                *known = entry;
                known.holders |= holders;
                known.group_holders |= group_holders;
            }
            None => entries.push(entry),
        }
    }

    /// What is stale of `level` for the region around `va`.
    pub(super) fn at(&self, va: VirtAddr, level: Level) -> &[Stale] {
        self.slots.get(&Slot::of(va, level)).map_or(&[], Vec::as_slice)
    }

    /// The leaves that `cpu` may use for `va` under `asid`.
    pub(super) fn leaves(&self, va: VirtAddr, cpu: CpuId, asid: Asid) -> impl Iterator<Item = &Stale> {
        let own = LEAF_LEVELS.into_iter().flat_map(move |level| self.at(va, level));
        let own = own.filter(move |e| !e.is_table() && e.usable(cpu, asid));
        let levels = LEAF_LEVELS.into_iter().filter(|_| self.groups);
        let group = levels.flat_map(move |level| {
            let first = va.align_down(group_bytes(level));
            (0..GROUP).flat_map(move |n| self.at(first.add(n * level.entry_bytes()), level))
        });
        let of_group = move |e: &&Stale| {
            e.group().is_some() && !e.region().contains(va) && e.group_holders.has(cpu) && e.by.serves(asid)
        };
        own.chain(group.filter(of_group))
    }

    /// The tables that `cpu` may use for `va` under `asid`, deepest first.
    pub(super) fn tables(&self, va: VirtAddr, cpu: CpuId, asid: Asid) -> impl Iterator<Item = &Stale> {
        let all = TABLE_LEVELS.into_iter().flat_map(move |level| self.at(va, level));
        all.filter(move |e| e.is_table() && e.usable(cpu, asid))
    }

    /// The stale descriptors of the table in `page`.
    pub(super) fn of_table(&self, page: PhysAddr) -> impl Iterator<Item = &Stale> {
        let slots = self.tables.get(&page).into_iter().flatten();
        let held = slots.filter_map(|slot| self.slots.get(slot)).flatten();
        held.filter(move |e| e.is_table() && e.desc.output(e.level) == page)
    }

    /// The leaves of deeper levels than `level` inside the region around `va`.
    pub(super) fn leaves_below(&self, va: VirtAddr, level: Level) -> impl Iterator<Item = &Stale> {
        let region = Region { start: va.align_down(level.entry_bytes()), bytes: level.entry_bytes() };
        self.iter().filter(move |e| e.level > level && !e.is_table() && region.contains(e.va))
    }

    /// All of them.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Stale> {
        self.slots.values().flatten()
    }

    /// Makes a store visible to those walkers that `barrier` reaches: all, or those of the vCPU that made it.
    pub(super) fn publish(&mut self, at: &Written, now: u64, barrier: Dsb) {
        for entry in self.slots.get_mut(&Slot::of(at.va, at.level)).into_iter().flatten() {
            if entry.source == at.slot && entry.storer == at.storer {
                entry.visible_to_storer = entry.visible_to_storer.min(now);
                if barrier != Dsb::Nsh {
                    entry.visible = entry.visible.min(now);
                }
            }
        }
    }

    /// What is overwritten in the tables of `root` and not visible to all walkers.
    pub(super) fn invisible(&self, root: PhysAddr) -> Vec<Stale> {
        self.iter().filter(|e| e.root == root && e.visible == NEVER).copied().collect()
    }

    /// The `bytes` bytes from `at` have been given back.
    pub(super) fn given_back(&mut self, at: PhysAddr, bytes: u64) {
        for entry in self.slots.values_mut().flatten() {
            let size = if entry.is_table() { PAGE_SIZE } else { entry.level.entry_bytes() };
            let from = entry.desc.output(entry.level);
            entry.gone |= from < at.add(bytes) && at < from.add(size);
        }
    }

    /// Completes a TLBI on the vCPUs `on`: what it covers leaves. What was overwritten by a store that was not visible
    /// when the TLBI was issued may have been walked once more, but only where `walks` says so. Returns the tables
    /// that left, each with the vCPUs that held it.
    pub(super) fn complete(
        &mut self,
        tlbi: &Pending,
        issuer: CpuId,
        on: Cpus,
        ttl: bool,
        walks: impl Fn(&Stale, CpuId) -> bool,
    ) -> Vec<Stale> {
        let mut gone = Vec::new();
        let mut visit = |entries: &mut Vec<Stale>| {
            for entry in entries.iter_mut() {
                let own = on == Cpus::only(issuer) && entry.storer == issuer;
                let visible = if own { entry.visible_to_storer } else { entry.visible };
                let again = |cpu: &CpuId| visible > tlbi.issued && walks(entry, *cpu);
                let on: Cpus = on.iter().filter(|cpu| !again(cpu)).collect();
                let reach = reach(&tlbi.op, entry, ttl);
                if reach == Reach::All {
                    let left = entry.holders & on;
                    entry.holders = entry.holders.without(on);
                    if entry.is_table() && !left.is_empty() {
                        gone.push(Stale { holders: left, ..*entry });
                    }
                }
                if reach != Reach::Nothing {
                    entry.group_holders = entry.group_holders.without(on);
                }
            }
            entries.retain(|e| !e.anyone().is_empty());
        };
        self.slots.retain(|_, entries| {
            visit(entries);
            !entries.is_empty()
        });
        for table in &gone {
            let page = table.desc.output(table.level);
            let still = |slot: &Slot| {
                let entries = self.slots.get(slot).into_iter().flatten();
                entries.clone().any(|e| e.is_table() && e.desc.output(e.level) == page)
            };
            if let Some(slots) = self.tables.get_mut(&page) {
                slots.retain(still);
                if slots.is_empty() {
                    self.tables.remove(&page);
                }
            }
        }
        gone.sort_by_key(|table| (table.va, table.level));
        gone
    }
}

/// A store that some walkers may not see yet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Written {
    pub(super) slot: PhysAddr,
    pub(super) va: VirtAddr,
    pub(super) level: Level,
    pub(super) storer: CpuId,
    /// What stood there may be held.
    pub(super) overwrites: bool,
    /// A DSB NSH has followed: this vCPU's own walker sees it.
    pub(super) seen_by_self: bool,
}
