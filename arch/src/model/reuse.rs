//! Memory that is put to another use while somebody may still get to it by its old address.
//!
//! | what happens to frames | refused while |
//! |---|---|
//! | they go back to the allocator | a walk can get to them, by their own descriptor or a contiguous neighbour's, or a vCPU may use a stale entry for them; tables likewise |
//! | they become a table | a writable translation to them may be used |
//! | they are written | they are a table that can be walked, or stand in for a page that may still be read |
//! | they are zeroed or copied to | they are a table that can be walked, or were unmapped and a stale entry for them may be used |
//!
//! Single bytes are written to memory that stays what it is: to an object's page by a descriptor, to a pinned one by a
//! device, whoever is about to unmap it. So only what makes a frame ready for somebody else is held to the last line.
//!
//! The linear map does not count, nor what is tagged with an ASID that no vCPU runs: it cannot be used before
//! that ASID is installed again, and then [`super::roots::Roots::claim`] and [`awakened`] ask.

use super::cpus::Cpus;
use super::judge::Context;
use super::machine::State;
use super::regime::{Regime, When};
use super::stale::{HeldBy, LEAF_LEVELS, Stale, group_region};
use super::walker::leads_to;
use crate::addr::{Asid, Level, PAGE_SIZE, PhysAddr, VirtAddr};
use crate::contiguous::group_bytes;
use crate::contract::CpuId;
use crate::layout::{LINEAR_BASE, VMEMMAP_BASE};
use crate::pte::{Desc, HwDirty};

/// A translation through which a frame may be reached.
struct Way {
    desc: Desc,
    level: Level,
    va: VirtAddr,
    cpus: Cpus,
    stale: bool,
}

impl std::fmt::Display for Way {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Way { desc, level, va, cpus, stale } = self;
        let verb = if *stale { "may still hold" } else { "can walk to" };
        write!(f, "{cpus} {verb} {desc} of level {level} for {va}")
    }
}

/// The vCPUs that may use a stale entry under the ASID that they run.
fn users(regime: &Regime, stale: &Stale) -> Cpus {
    let used = |&cpu: &CpuId| stale.by.serves(regime.asid(cpu));
    stale.anyone().iter().filter(used).collect()
}

/// The first way to any of the `bytes` bytes from `at` by what stands in tables.
fn standing(state: &State, regime: &Regime, at: PhysAddr, bytes: u64) -> Option<Way> {
    let own = regime.frames.mapping(at, bytes).into_iter().find_map(|(slot, level)| {
        let way = way_by(state, regime, slot, level)?;
        leads_to(way.desc, level, at, bytes).then_some(way)
    });
    own.or_else(|| LEAF_LEVELS.into_iter().find_map(|level| beside(state, regime, at, bytes, level)))
}

/// The way by the descriptor in `slot`, if a walk can get there.
fn way_by(state: &State, regime: &Regime, slot: PhysAddr, level: Level) -> Option<Way> {
    let page = slot.align_down(PAGE_SIZE);
    let table = regime.tables.of(page).filter(|table| table.level == level)?;
    let (desc, va) = (state.ram.load(slot), table.va_of(slot));
    let cpus = regime.reach(&state.ram, page, When::Now);
    (!cpus.is_empty()).then_some(Way { desc, level, va, cpus, stale: false })
}

/// The first way by the contiguous neighbour of a descriptor that is gone: the group may be held as one entry.
fn beside(state: &State, regime: &Regime, at: PhysAddr, bytes: u64, level: Level) -> Option<Way> {
    let group = group_bytes(level);
    let first = at.align_down(group);
    let span = at.add(bytes).align_up(group).offset_from(first);
    let places = regime.frames.mapping_at(first, span, level);
    places.into_iter().filter_map(|(slot, level)| way_by(state, regime, slot, level)).find(|way| {
        let region = group_region(way.desc, level, way.va);
        region.is_some_and(|region| {
            let start = way.desc.output(level).raw().wrapping_sub(way.va.offset_from(region.start));
            start < at.raw() + bytes && at.raw() < start.wrapping_add(group)
        })
    })
}

/// The first way to them by what is stale.
fn remaining(regime: &Regime, at: PhysAddr, bytes: u64, also: impl Fn(&Stale) -> bool) -> Option<Way> {
    let linear = LINEAR_BASE..VMEMMAP_BASE;
    let leads = |e: &&Stale| leads_to(e.desc, e.level, at, bytes) && !linear.contains(&e.va) && also(e);
    let ways = regime.stale.iter().filter(leads).map(|e| {
        let cpus = users(regime, e);
        Way { desc: e.desc, level: e.level, va: e.va, cpus, stale: true }
    });
    ways.filter(|way| !way.cpus.is_empty()).min_by_key(|way| way.va)
}

/// Frames go back to the allocator.
///
/// # Panics
/// They can be reached.
pub(super) fn released(state: &State, regime: &mut Regime, cpu: CpuId, at: PhysAddr, bytes: u64) {
    let way = standing(state, regime, at, bytes).or_else(|| remaining(regime, at, bytes, |_| true));
    if let Some(way) = way {
        panic!("model: vCPU {cpu} gives back {bytes} bytes at {at} while {way} (R_GPPYH)");
    }
    for page in pages(at, bytes) {
        if let Some(table) = regime.tables.of(page) {
            let cpus = regime.reach(&state.ram, page, When::Now);
            assert!(
                cpus.is_empty(),
                "model: vCPU {cpu} gives back {page}, a table of level {} for {} that {cpus} can still walk",
                table.level,
                table.va
            );
            regime.tables.remove(page);
            regime.roots.gone(page);
        }
    }
    regime.stale.given_back(at, bytes);
}

/// `cpu` installs a user root under `asid`, and may use again what it holds under that.
///
/// # Panics
/// Something of it leads to memory that was given back meanwhile.
pub(super) fn awakened(regime: &Regime, cpu: CpuId, root: PhysAddr, asid: Asid) {
    let wakes = |e: &&Stale| e.gone && e.by == HeldBy::Asid(asid) && e.anyone().has(cpu);
    if let Some(e) = regime.stale.iter().filter(wakes).min_by_key(|e| (e.va, e.level)) {
        panic!(
            "model: vCPU {cpu} installs root {root} under ASID {asid} while it may still hold {} of level {} for {}, \
             which leads to memory that was given back (R_GPPYH)",
            e.desc, e.level, e.va
        );
    }
}

/// A page becomes a table.
///
/// # Panics
/// It may be written by a translation.
pub(super) fn as_table(context: &Context<'_>, regime: &Regime) {
    let (store, level) = (context.store, context.table.level);
    let page = store.new.output(level);
    let writable = |desc: Desc| desc.grants_write(HwDirty::Enabled);
    let standing = standing(context.state, regime, page, PAGE_SIZE).filter(|way| writable(way.desc));
    let way = standing.or_else(|| remaining(regime, page, PAGE_SIZE, |e| writable(e.desc)));
    if let Some(way) = way {
        panic!(
            "model: vCPU {} makes {page} a table of level {} for {} while {way}: a walk may read what is written \
             there",
            store.cpu,
            level.next().unwrap_or(level),
            context.va
        );
    }
}

/// Bytes are zeroed, or copied from elsewhere: a frame is made ready for somebody.
///
/// # Panics
/// They belong to a table that can be walked, or to a page that was unmapped and may still be reached.
pub(super) fn filled(state: &State, regime: &mut Regime, cpu: CpuId, at: PhysAddr, bytes: u64) {
    written(state, regime, cpu, at, bytes);
    if regime.stale.is_empty() {
        return;
    }
    let unmapped = |e: &Stale| {
        let now = state.ram.load(e.source);
        !now.is_leaf(e.level) || now.output(e.level) != e.desc.output(e.level)
    };
    if let Some(way) = remaining(regime, at, bytes, unmapped) {
        panic!("model: vCPU {cpu} fills {bytes} bytes at {at}, which were unmapped, while {way} (R_GPPYH)");
    }
}

/// Bytes are written.
///
/// # Panics
/// They belong to a table that can be walked, or to a page that has taken the place of another which may still be
/// held.
pub(super) fn written(state: &State, regime: &mut Regime, cpu: CpuId, at: PhysAddr, bytes: u64) {
    for page in pages(at, bytes) {
        let Some(table) = regime.tables.of(page) else { continue };
        let cpus = regime.reach(&state.ram, page, When::Now);
        assert!(
            cpus.is_empty(),
            "model: vCPU {cpu} writes to {page}, a table of level {} for {} that can still be walked",
            table.level,
            table.va
        );
    }
    if !regime.stale.is_empty() {
        twin_written(state, regime, cpu, at, bytes);
    }
}

/// A page that was repointed shows two frames until it is flushed, which must not come to differ.
fn twin_written(state: &State, regime: &Regime, cpu: CpuId, at: PhysAddr, bytes: u64) {
    let twin = |e: &&Stale| {
        let now = state.ram.load(e.source);
        let moved = !e.is_table() && now.is_leaf(e.level) && now.output(e.level) != e.desc.output(e.level);
        let either = leads_to(now, e.level, at, bytes) || leads_to(e.desc, e.level, at, bytes);
        moved && either && !users(regime, e).is_empty()
    };
    if let Some(e) = regime.stale.iter().filter(twin).min_by_key(|e| (e.va, e.level)) {
        panic!(
            "model: vCPU {cpu} writes {bytes} bytes at {at}, which stand for {}, while {} may still hold {} of level \
             {} there: the contents come to differ (R_WHZWS, second bullet)",
            e.va,
            users(regime, e),
            e.desc,
            e.level
        );
    }
}

fn pages(at: PhysAddr, bytes: u64) -> impl Iterator<Item = PhysAddr> {
    let first = at.align_down(PAGE_SIZE);
    let count = (at.add(bytes).raw() - first.raw()).div_ceil(PAGE_SIZE);
    (0..count).map(move |n| first.add(n * PAGE_SIZE))
}
