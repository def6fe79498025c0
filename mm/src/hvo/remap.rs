//! The plan of one folio's remap, and the walk that carries it out: the same for optimise and restore, which
//! differ in the descriptors that they plan and in the names of their steps.
//!
//! # Guarantee
//! [`Window::replace`] compares all that it will change with what was planned, and only then stores. It
//! touches no struct page: between break and make some have no translation, and after
//! [`StepKind::HvoSplitBreak`] even those that describe the page tables have none.
//!
//! ```text
//!   block of 2 MiB?  break . flush . make table         512 entries, identical, writable: 64 folios' vmemmap
//!   entries 1..=7    break x 7 . flush once . make x 7   one folio's
//! ```
#![forbid(unsafe_code)]

use arch::addr::PAGE_SIZE;
use arch::pte::{Kind, PteFlags};
use arch::{Desc, Level, Pfn, PhysAddr, VirtAddr};

use super::layout::Layout;
use super::{BATCH, HvoError};
use crate::env::KernelEnv;
use crate::pgtable::{Displaced, Flusher, LooseTable, Missing, PtRoot};
use crate::steps::{self, Owed, Step, StepKind};

/// Entries of one folio that are replaced: what [`Layout::freed`] gives for 2 MiB, the one size of the pool.
pub const RUN: usize = 7;

/// What a strategy is given for one folio: addresses and finished descriptors.
#[derive(Debug)]
pub struct Plan {
    pub(super) pfn: Pfn,
    first: VirtAddr,
    block: Option<Desc>,
    /// For the split of a block; goes when it is linked.
    pub(super) table: Option<LooseTable>,
    pub(super) old: [Desc; RUN],
    pub(super) new: [Desc; RUN],
    /// What the run held, once it was replaced.
    pub(super) displaced: Option<Displaced<RUN>>,
    pub(super) outcome: Result<Replaced, HvoError>,
}

/// What replacing took.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Replaced {
    /// vmemmap was mapped by pages here.
    Entries,
    /// A block had to be split first: the plan's table is in use now.
    SplitAndEntries,
    /// Nothing yet.
    NotYet,
}

impl Plan {
    const EMPTY: Plan = Plan {
        pfn: Pfn::new(0),
        first: VirtAddr::new(0),
        block: None,
        table: None,
        old: [Desc::INVALID; RUN],
        new: [Desc::INVALID; RUN],
        displaced: None,
        outcome: Ok(Replaced::NotYet),
    };

    /// Reads what maps the vmemmap of the folio at `pfn`; nothing is planned yet.
    ///
    /// # Errors
    /// [`HvoError::Entry`]: an address has no translation.
    pub(super) fn survey(tree: &PtRoot, pfn: Pfn, layout: Layout) -> Result<Plan, HvoError> {
        let first = layout.page(pfn, layout.kept());
        let mut plan = Plan { pfn, first, ..Plan::EMPTY };
        for (n, old) in plan.old.iter_mut().enumerate() {
            let va = first.add(n as u64 * PAGE_SIZE);
            let last = tree.walk(va).last();
            *old = match last.desc.kind(last.level) {
                Kind::Page => last.desc,
                Kind::Block if last.level == Level::L2 => {
                    plan.block = Some(last.desc);
                    page_of_block(last.desc, va.index(Level::L3))
                }
                _ => return Err(HvoError::Entry(va, last.desc)),
            };
        }
        Ok(plan)
    }

    /// The 2 MiB block that has to be split first, as it was read: its descriptor, and the address where it
    /// begins.
    pub(super) fn block(&self) -> Option<(VirtAddr, Desc)> {
        self.block.map(|desc| (self.first.align_down(Level::L2.entry_bytes()), desc))
    }

    /// Plans the new descriptors: the entries of the run come to map `frames` with the rights they have,
    /// changed by `rights`.
    pub(super) fn target(
        &mut self,
        frames: impl Iterator<Item = PhysAddr>,
        rights: impl Fn(PteFlags) -> PteFlags,
    ) {
        for ((new, old), frame) in self.new.iter_mut().zip(self.old).zip(frames) {
            *new = Desc::leaf(frame, Level::L3, rights(old.flags(Level::L3)));
        }
    }
}

/// The level-3 descriptor that maps page `n` of a level-2 block, with the block's rights.
fn page_of_block(block: Desc, n: usize) -> Desc {
    let pa = block.output(Level::L2).add(n as u64 * PAGE_SIZE);
    Desc::leaf(pa, Level::L3, block.flags(Level::L2).difference(PteFlags::NT))
}

/// Fills a table with the pages of `block`: the same frames, the same rights.
pub(super) fn fill_table(table: &mut LooseTable, block: Desc) {
    table.fill(|n| page_of_block(block, n));
}

/// Up to [`BATCH`] plans.
pub(super) struct Batch {
    plans: [Plan; BATCH],
    len: usize,
}

impl Batch {
    pub(super) const fn new() -> Self {
        Batch { plans: [const { Plan::EMPTY }; BATCH], len: 0 }
    }
    /// Adds a plan; the caller adds at most [`BATCH`].
    pub(super) fn push(&mut self, plan: Plan) {
        self.plans[self.len] = plan;
        self.len += 1;
    }
    pub(super) fn plans(&self) -> &[Plan] {
        &self.plans[..self.len]
    }
    pub(super) fn plans_mut(&mut self) -> &mut [Plan] {
        &mut self.plans[..self.len]
    }
}

/// The steps of one direction.
#[derive(Debug)]
pub struct Names {
    begin: StepKind,
    broken: StepKind,
    flushed: StepKind,
    made: StepKind,
    end: StepKind,
}

impl Names {
    /// Towards the shared page.
    pub const OPTIMISE: Names = Names {
        begin: StepKind::HvoBegin,
        broken: StepKind::HvoBreak,
        flushed: StepKind::HvoFlush,
        made: StepKind::HvoMake,
        end: StepKind::HvoEnd,
    };
    /// Towards pages of its own.
    pub const RESTORE: Names = Names {
        begin: StepKind::RestoreBegin,
        broken: StepKind::RestoreBreak,
        flushed: StepKind::RestoreFlush,
        made: StepKind::RestoreMake,
        end: StepKind::RestoreEnd,
    };
}

/// The locked kernel tree, while nobody touches vmemmap.
pub struct Window<'w> {
    tree: &'w mut PtRoot,
    flusher: Flusher<'w>,
    env: &'w dyn KernelEnv,
    names: &'static Names,
}

impl<'w> Window<'w> {
    /// A window on `tree`. The caller guarantees that no other CPU touches a struct page until it is dropped.
    pub fn new(
        tree: &'w mut PtRoot,
        flusher: Flusher<'w>,
        env: &'w dyn KernelEnv,
        names: &'static Names,
    ) -> Self {
        Window { tree, flusher, env, names }
    }

    /// Carries out a plan, and notes in it what became of it. On an error nothing was stored.
    // Walk B.6: the entries of one folio's vmemmap.
    pub fn replace(&mut self, plan: &mut Plan) {
        plan.outcome = self.try_replace(plan);
    }

    fn try_replace(&mut self, plan: &mut Plan) -> Result<Replaced, HvoError> {
        let replaced = self.verify(plan)?;
        self.announce_walk(self.names.begin, plan.first);
        if replaced == Replaced::SplitAndEntries {
            self.split(plan)?;
        }
        self.replace_run(plan)?;
        self.announce_walk(self.names.end, plan.first);
        Ok(replaced)
    }

    /// Holds everything that will change against the plan. Returns what must be done.
    fn verify(&self, plan: &Plan) -> Result<Replaced, HvoError> {
        let last = self.tree.walk(plan.first).last();
        if last.level == Level::L2 {
            let planned = plan.block == Some(last.desc) && plan.table.is_some();
            let found = HvoError::Entry(plan.first, last.desc);
            return if planned { Ok(Replaced::SplitAndEntries) } else { Err(found) };
        }
        for (n, &old) in plan.old.iter().enumerate() {
            let va = plan.first.add(n as u64 * PAGE_SIZE);
            let desc = self.tree.walk(va).last().desc;
            if desc != old {
                return Err(HvoError::Entry(va, desc));
            }
        }
        Ok(Replaced::Entries)
    }

    /// Replaces a block by a table that maps the same. Until the table stands, none of the 32768 struct pages
    /// of the block can be touched.
    fn split(&mut self, plan: &mut Plan) -> Result<(), HvoError> {
        let (env, va) = (self.env, plan.first.align_down(Level::L2.entry_bytes()));
        let entry = self.tree.entry(self.flusher, va, Level::L2).map_err(|missing| not_there(va, missing))?;
        let (at, block) = (Place::of(&entry), entry.desc());
        let link = plan.table.take().ok_or(HvoError::Entry(va, block))?.link();
        let broken =
            entry.break_live::<1>(|_, old| at.announce(env, StepKind::HvoSplitBreak, old, Desc::INVALID));
        let clean = broken.flush();
        at.announce(env, StepKind::HvoSplitFlush, block, Desc::INVALID);
        // The table's entries map the frames that the block mapped.
        clean.make(|_| link, |_, new| at.announce(env, StepKind::HvoSplitMake, Desc::INVALID, new)).keep();
        Ok(())
    }

    /// Breaks the run, flushes once, and makes it anew.
    fn replace_run(&mut self, plan: &mut Plan) -> Result<(), HvoError> {
        let (env, names, va) = (self.env, self.names, plan.first);
        let entry = self.tree.entry(self.flusher, va, Level::L3).map_err(|missing| not_there(va, missing))?;
        let first = Place::of(&entry);
        let broken = entry.break_live::<RUN>(|entry, old| {
            Place::of(entry).announce(env, names.broken, old, Desc::INVALID);
        });
        let clean = broken.flush();
        first.announce(env, names.flushed, plan.old[0], Desc::INVALID);
        let displaced = clean.make(
            |n| plan.new[n],
            |entry, new| Place::of(entry).announce(env, names.made, Desc::INVALID, new),
        );
        plan.displaced = Some(displaced);
        Ok(())
    }

    /// Announces a step that stores nothing, with the leaf for `va` as it stands.
    fn announce_walk(&self, kind: StepKind, va: VirtAddr) {
        let last = self.tree.walk(va).last();
        Place { slot: last.slot, level: last.level, va }.announce(self.env, kind, last.desc, last.desc);
    }
}

/// Which entry a step is about.
#[derive(Clone, Copy)]
struct Place {
    slot: PhysAddr,
    level: Level,
    va: VirtAddr,
}

impl Place {
    fn of(entry: &crate::pgtable::Entry<'_>) -> Self {
        Place { slot: entry.slot(), level: entry.level(), va: entry.va() }
    }

    fn announce(self, env: &dyn KernelEnv, kind: StepKind, old: Desc, new: Desc) {
        let Place { slot, level, va } = self;
        steps::announce(env, &Step { kind, owed: owed_after(kind), level, entries: 1, va, slot, old, new });
    }
}

fn owed_after(kind: StepKind) -> Owed {
    match kind {
        StepKind::HvoSplitBreak | StepKind::HvoBreak | StepKind::RestoreBreak => Owed::FlushThenMake,
        StepKind::HvoSplitFlush | StepKind::HvoFlush | StepKind::RestoreFlush => Owed::Make,
        _ => Owed::Nothing,
    }
}

fn not_there(va: VirtAddr, missing: Missing) -> HvoError {
    let desc = match missing {
        Missing::Leaf(_, desc) => desc,
        Missing::Table(_) | Missing::Stock => Desc::INVALID,
    };
    HvoError::Entry(va, desc)
}
