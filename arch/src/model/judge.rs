//! The judge: every descriptor store into a table that can be walked is held against [`bbm_need`].
//!
//! The descriptor that the store replaces is judged, and so is every other descriptor that a vCPU still holds for the same
//! region: that is how a flush that was forgotten, local where it had to be broadcast, or not complete, is found
//! at the very next `make`. Contents are compared in RAM at that moment. Writing to a table by any other
//! way than a descriptor store is refused as long as the table can be walked.

use super::machine::State;
use super::tables::Table;
use super::tlb::{Held, Tlb};
use crate::addr::{ENTRIES_PER_TABLE, Level, PAGE_SIZE, PhysAddr, VirtAddr};
use crate::bbm::{BbmNeed, Contents, Ctx, Why, bbm_need};
use crate::contract::CpuId;
use crate::features::BbmLevel;
use crate::pte::{Desc, Kind, PteFlags};

/// A store that has been made.
#[derive(Clone, Copy)]
pub(super) struct Stored {
    pub(super) cpu: CpuId,
    pub(super) at: PhysAddr,
    pub(super) old: Desc,
    pub(super) new: Desc,
}

/// Judges a store.
///
/// # Panics
/// It breaks the rule: one sentence says which row.
pub(super) fn stored(state: &State, store: Stored) {
    let Some(table) = state.tables.of(store.at) else { return };
    if store.new.kind(table.level) == Kind::Table {
        state.tables.link(state, &table, store.at);
    }
    if let Some(why) = refuses(state, store.old, store.new, table.level)
        && state.tables.can_be_walked(state, store.at.align_down(PAGE_SIZE))
    {
        let Stored { cpu, at, old, new } = store;
        let Table { level, .. } = table;
        let va = table.va_of(at);
        panic!(
            "model: vCPU {cpu} stores {new} over {old} at {at}, level {level}, for {va}: {}",
            BbmNeed::BreakBeforeMake { why }
        );
    }
    if store.new.kind(table.level) != Kind::Invalid {
        against_held(state, &store, &table);
    }
}

/// Judges a store against what every vCPU still holds.
fn against_held(state: &State, store: &Stored, table: &Table) {
    let va = table.va_of(store.at);
    for (n, vcpu) in state.vcpus().enumerate() {
        let same_region = vcpu.tlb.held(va, table.level).iter();
        let verdict = same_region
            .filter_map(|held| Some((*held, refuses_held(state, held, store, table.level)?)))
            .next()
            .or_else(|| smaller_leaf(state, &vcpu.tlb, store, table));
        drop(vcpu);
        if let Some((held, why)) = verdict {
            let Stored { cpu, at, new, .. } = *store;
            panic!(
                "model: vCPU {cpu} stores {new} at {at}, level {}, for {va} while vCPU {n} still holds {} of \
                 level {}: {}",
                table.level,
                held.desc,
                held.level,
                BbmNeed::BreakBeforeMake { why }
            );
        }
    }
}

/// Why `held`, of the same level and region, must leave before the store.
fn refuses_held(state: &State, held: &Held, store: &Stored, level: Level) -> Option<Why> {
    if held.source == store.at {
        return if held.desc == store.old { None } else { refuses(state, held.desc, store.new, level) };
    }
    let global = |desc: Desc| desc.is_leaf(level) && !desc.flags(level).contains(PteFlags::NOT_GLOBAL);
    let overlaps = !held.is_table() && !global(held.desc) && global(store.new);
    overlaps.then_some(Why::Global)
}

/// The first of the smaller leaves held inside the region that a new block may not cover.
fn smaller_leaf(state: &State, tlb: &Tlb, store: &Stored, table: &Table) -> Option<(Held, Why)> {
    let (level, start) = (table.level, table.va_of(store.at));
    if store.new.kind(level) != Kind::Block {
        return None;
    }
    let nt = store.new.flags(level).contains(PteFlags::NT);
    let may_resize = match state.desc.features.bbm {
        BbmLevel::Level0 => false,
        BbmLevel::Level1 => nt,
        BbmLevel::Level2 | BbmLevel::Level3 => true,
    };
    let alike = |va: VirtAddr, held: &Held| {
        let within = va.offset_from(start);
        same_rights(store.new, level, held.desc, held.level)
            && held.desc.output(held.level) == store.new.output(level).add(within)
    };
    let clashing = |(va, held): &(VirtAddr, Held)| !(may_resize && alike(*va, held));
    tlb.leaves_below(start, level).into_iter().find(clashing).map(|(_, held)| (held, Why::Size))
}

/// Why `new` may not replace `old` at once.
fn refuses(state: &State, old: Desc, new: Desc, level: Level) -> Option<Why> {
    if !old.is_valid() || old == new {
        return None;
    }
    let contents = compare(state, old, new, level);
    let ctx = Ctx { bbm: state.desc.features.bbm, hw_dirty: state.desc.hw_dirty, contents };
    match bbm_need(old, new, level, &ctx) {
        BbmNeed::BreakBeforeMake { why } => Some(why),
        BbmNeed::None | BbmNeed::FlushAfter => None,
    }
}

/// How what the two lead to compares, in RAM, now.
fn compare(state: &State, old: Desc, new: Desc, level: Level) -> Contents {
    let (from, to) = (old.output(level), new.output(level));
    let same_bytes = |bytes| {
        let in_ram = state.ram.contains(from, bytes) && state.ram.contains(to, bytes);
        from == to || (in_ram && state.ram.equal(from, to, bytes))
    };
    let equal = match (old.kind(level), new.kind(level)) {
        (Kind::Invalid, _) | (_, Kind::Invalid) => false,
        (Kind::Table, Kind::Table) => same_bytes(PAGE_SIZE),
        (Kind::Table, _) => translates_alike(state, new, old, level),
        (_, Kind::Table) => translates_alike(state, old, new, level),
        _ => same_bytes(level.entry_bytes()),
    };
    if equal { Contents::Equal } else { Contents::Differ }
}

/// Whether the leaves below `table` translate each address as `leaf` does; both stand at `level`.
fn translates_alike(state: &State, leaf: Desc, table: Desc, level: Level) -> bool {
    let (Some(below), page) = (level.next(), table.output(level)) else { return false };
    state.ram.contains(page, PAGE_SIZE)
        && (0..ENTRIES_PER_TABLE as u64).all(|index| {
            let desc = state.ram.load(page.add(8 * index));
            let output = leaf.output(level).add(index * below.entry_bytes());
            match desc.kind(below) {
                Kind::Invalid => false,
                Kind::Table => {
                    translates_alike(state, Desc::leaf(output, below, leaf.flags(level)), desc, below)
                }
                Kind::Block | Kind::Page => {
                    desc.output(below) == output && same_rights(leaf, level, desc, below)
                }
            }
        })
}

/// Whether two leaves of different levels have the same attributes, apart from those that belong to the size.
fn same_rights(a: Desc, a_level: Level, b: Desc, b_level: Level) -> bool {
    let of_size = PteFlags::TABLE_OR_PAGE | PteFlags::CONTIGUOUS | PteFlags::NT | PteFlags::ACCESSED;
    (a.flags(a_level) ^ b.flags(b_level)).difference(of_size).is_empty()
}

/// Judges a write of `bytes` bytes from `at` that is no descriptor store.
///
/// # Panics
/// It reaches a table that can be walked.
pub(super) fn written(state: &State, cpu: CpuId, at: PhysAddr, bytes: u64) {
    let mut page = at.align_down(PAGE_SIZE);
    while page < at.add(bytes) {
        if let Some(table) = state.tables.of(page)
            && state.tables.can_be_walked(state, page)
        {
            panic!(
                "model: vCPU {cpu} writes to {page}, a table of level {} for {} that can still be walked",
                table.level, table.va
            );
        }
        page = page.add(PAGE_SIZE);
    }
}
