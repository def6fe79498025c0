//! The judge: every descriptor store into a table that a walk can get to is held against [`bbm_need`].
//!
//! The descriptor that the store replaces is judged, and so is every other one that a vCPU may still hold for
//! the same addresses: that is how a flush that was forgotten, local where it had to be broadcast, or not
//! complete, is found at the very next `make`. Contents are compared in RAM at that moment.

use super::contents::{LeafAt, leaf_at, leaf_below, leaves_alike};
use super::cpus::Cpus;
use super::group;
use super::machine::State;
use super::regime::{Regime, When};
use super::reuse;
use super::stale::{HeldBy, Stale, Written};
use super::tables::Table;
use crate::addr::{PAGE_SIZE, PhysAddr, VirtAddr};
use crate::bbm::{BbmNeed, Ctx, SOFTWARE, Why, bbm_need, compare};
use crate::contract::CpuId;
use crate::features::BbmLevel;
use crate::pte::{Desc, HwDirty, Kind, PteFlags};

/// A store that has been made.
#[derive(Clone, Copy)]
pub(super) struct Stored {
    pub(super) cpu: CpuId,
    pub(super) at: PhysAddr,
    pub(super) old: Desc,
    pub(super) new: Desc,
    pub(super) how: How,
}

/// How a descriptor was stored.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum How {
    /// Whatever stood there.
    Plain,
    /// Compare and swap.
    Swap,
}

/// Judges a store, and books what it makes stale or new.
///
/// # Panics
/// It breaks the rule: one sentence says which row.
pub(super) fn stored(state: &State, regime: &mut Regime, store: Stored) {
    let page = store.at.align_down(PAGE_SIZE);
    let Some(table) = regime.tables.of(page) else { return };
    let since = regime.tables.since(&table, store.at);
    let holders = regime.reach(&state.ram, page, When::Since(since));
    if holders.is_empty() && !regime.is_linked(&state.ram, page) {
        regime.tables.remove(page);
        return;
    }
    let context = Context { state, store, table, va: table.va_of(store.at) };
    if !holders.is_empty() {
        context.judge(regime);
    }
    book(state, regime, &context, holders);
}

/// A store and where it happened.
pub(super) struct Context<'a> {
    pub(super) state: &'a State,
    pub(super) store: Stored,
    pub(super) table: Table,
    pub(super) va: VirtAddr,
}

impl Context<'_> {
    fn judge(&self, regime: &Regime) {
        self.hardware_update(regime);
        let Stored { old, new, .. } = self.store;
        if let Some(why) = self.refuses(old) {
            self.fail(&format!("over {old} "), "", why);
        }
        if new.kind(self.table.level) != Kind::Invalid {
            self.against_stale(regime);
            self.against_other_spaces(regime);
            group::check(self, regime);
        }
        if new.kind(self.table.level) == Kind::Table {
            reuse::as_table(self, regime);
        }
    }

    /// A store that is refused for `why`.
    fn fail(&self, over: &str, held: &str, why: Why) -> ! {
        let Stored { cpu, at, new, .. } = self.store;
        let (level, va) = (self.table.level, self.va);
        let need = BbmNeed::BreakBeforeMake { why };
        panic!("model: vCPU {cpu} stores {new} {over}at {at}, level {level}, for {va}{held}: {need}")
    }

    /// A plain store over what hardware may be updating.
    fn hardware_update(&self, regime: &Regime) {
        let Stored { cpu, at, old, new, how } = self.store;
        let level = self.table.level;
        if how == How::Swap || regime.hw_dirty == HwDirty::Disabled || !old.is_leaf(level) {
            return;
        }
        let flags = old.flags(level);
        let what = if !flags.contains(PteFlags::ACCESSED) {
            "access flag"
        } else if flags.contains(PteFlags::DBM | PteFlags::READ_ONLY) {
            "dirty state"
        } else {
            return;
        };
        panic!(
            "model: vCPU {cpu} stores {new} over {old} at {at}, level {level}, for {}: hardware may set the {what} \
             at any moment, and a plain store loses it; compare and swap (D8.5)",
            self.va
        );
    }

    /// Why the new descriptor may not come while `other`, of the same level, is held.
    fn refuses(&self, other: Desc) -> Option<Why> {
        refuses(self.state, other, self.store.new, self.table)
    }

    /// Judges the store against what any vCPU may still hold for its addresses.
    fn against_stale(&self, regime: &Regime) {
        if regime.stale.is_empty() {
            return;
        }
        let level = self.table.level;
        let same =
            regime.stale.at(self.va, level).iter().filter_map(|e| Some((e, self.refuses_stale(regime, e)?)));
        let above = std::iter::successors(level.previous(), |l| l.previous())
            .flat_map(|above| regime.stale.at(self.va, above))
            .filter_map(|e| Some((e, self.refuses_larger(regime, e)?)));
        let below = match self.store.new.kind(level) {
            Kind::Block | Kind::Table => Some(regime.stale.leaves_below(self.va, level)),
            Kind::Page | Kind::Invalid => None,
        };
        let below = below.into_iter().flatten().filter_map(|e| Some((e, self.refuses_smaller(regime, e)?)));
        if let Some((stale, why)) = same.chain(above).chain(below).min_by_key(|(e, _)| (e.level, e.va)) {
            let held =
                format!(" while {} may still hold {} of level {}", stale.anyone(), stale.desc, stale.level);
            self.fail("", &held, why);
        }
    }

    /// Judges a global leaf in the user's half against what other roots map there by non-global ones.
    fn against_other_spaces(&self, regime: &Regime) {
        if !self.new_is_global() || !self.va.is_user() {
            return;
        }
        for root in regime.roots.iter().filter(|&root| root != self.table.root) {
            let other = leaf_at(&self.state.ram, root, self.va)
                .filter(|leaf| leaf.desc.flags(leaf.level).contains(PteFlags::NOT_GLOBAL));
            let cpus = regime.roots.since(root, 0);
            if let Some(leaf) = other.filter(|_| !cpus.is_empty()) {
                let held = format!(" while {cpus} may still hold {} of level {}", leaf.desc, leaf.level);
                self.fail("", &held, Why::Global);
            }
        }
    }

    /// Whether an access may match both the new descriptor and the stale one by their tags.
    fn may_meet(&self, regime: &Regime, stale: &Stale) -> bool {
        let new_is_global = self.new_is_global();
        match stale.by {
            // A vCPU that has not run this root under the ASID flushes what it holds under it before it does.
            HeldBy::Asid(asid) => {
                let root = self.table.root;
                new_is_global || stale.anyone().iter().any(|cpu| regime.roots.may_run(root, cpu, asid))
            }
            HeldBy::Global | HeldBy::AnyAsid => true,
        }
    }

    fn new_is_global(&self) -> bool {
        let (new, level) = (self.store.new, self.table.level);
        new.is_leaf(level) && !new.flags(level).contains(PteFlags::NOT_GLOBAL)
    }

    /// Against an entry of the same size.
    fn refuses_stale(&self, regime: &Regime, stale: &Stale) -> Option<Why> {
        let known = stale.source == self.store.at && stale.desc == self.store.old;
        if known || !self.may_meet(regime, stale) {
            return None;
        }
        let level = self.table.level;
        let private = !stale.is_table() && stale.desc.flags(level).contains(PteFlags::NOT_GLOBAL);
        if private && self.new_is_global() && stale.source != self.store.at {
            return Some(Why::Global);
        }
        self.refuses(stale.desc)
    }

    /// Against a block that covers more than the new descriptor.
    fn refuses_larger(&self, regime: &Regime, stale: &Stale) -> Option<Why> {
        let (new, level) = (self.store.new, self.table.level);
        if stale.is_table() || !new.is_leaf(level) || !self.may_meet(regime, stale) {
            return None;
        }
        let large = LeafAt { desc: stale.desc, level: stale.level, va: stale.va };
        self.unless_alike(large, LeafAt { desc: new, level, va: self.va })
    }

    /// Against a leaf inside the region of a new block or table.
    fn refuses_smaller(&self, regime: &Regime, stale: &Stale) -> Option<Why> {
        if !self.may_meet(regime, stale) {
            return None;
        }
        let (new, level) = (self.store.new, self.table.level);
        let small = LeafAt { desc: stale.desc, level: stale.level, va: stale.va };
        if new.is_leaf(level) {
            return self.unless_alike(LeafAt { desc: new, level, va: self.va }, small);
        }
        let below = leaf_below(&self.state.ram, new, level, stale.va)?;
        if below.level == stale.level {
            let table = Table { level: stale.level, ..self.table };
            return refuses(self.state, stale.desc, below.desc, table);
        }
        let (large, small) = if below.level < small.level { (below, small) } else { (small, below) };
        self.unless_alike(large, small)
    }

    /// A change of size, which FEAT_BBM may allow where nothing else changes.
    fn unless_alike(&self, large: LeafAt, small: LeafAt) -> Option<Why> {
        let allowed = match self.state.desc.features.bbm {
            BbmLevel::Level0 => false,
            BbmLevel::Level1 => large.desc.flags(large.level).contains(PteFlags::NT),
            BbmLevel::Level2 | BbmLevel::Level3 => true,
        };
        (!allowed || !leaves_alike(large, small)).then_some(Why::Size)
    }
}

/// Why `new` may not replace `old` at once.
fn refuses(state: &State, old: Desc, new: Desc, table: Table) -> Option<Why> {
    if !old.is_valid() || old == new {
        return None;
    }
    let level = table.level;
    let contents = compare(old, new, level, &state.ram);
    let ctx = Ctx { bbm: state.desc.features.bbm, hw_dirty: state.desc.hw_dirty, contents };
    match bbm_need(old, new, level, &ctx) {
        BbmNeed::BreakBeforeMake { why } => Some(why),
        BbmNeed::None | BbmNeed::FlushAfter => None,
    }
}

/// Books what a store makes stale, what it makes new, and what it links.
fn book(state: &State, regime: &mut Regime, context: &Context<'_>, holders: Cpus) {
    let Stored { cpu, at, old, new, .. } = context.store;
    let (table, va, level) = (&context.table, context.va, context.table.level);
    if (old.raw() ^ new.raw()) & !SOFTWARE == 0 {
        return;
    }
    regime.frames.remove(old, level, va, at);
    regime.frames.add(new, level, va, at);
    let seen_now = regime.reach(&state.ram, at.align_down(PAGE_SIZE), When::Now);
    let overwrites = regime.cacheable(old, level) && !holders.is_empty();
    if overwrites {
        regime.make_stale(table, at, old, holders, cpu);
    }
    let now = regime.now();
    regime.tables.stored(at, now);
    let makes = !overwrites && new.kind(level) != Kind::Invalid && !seen_now.is_empty();
    if makes {
        regime.unseen.made(at, cpu);
    } else {
        regime.unseen.forget(at);
    }
    if overwrites || makes {
        regime.vcpu(cpu).unordered.push(Written {
            slot: at,
            va,
            level,
            storer: cpu,
            overwrites,
            seen_by_self: false,
        });
    }
    if new.kind(level) == Kind::Table {
        regime.link(&state.ram, table, at, new);
    }
}
