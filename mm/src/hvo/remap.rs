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

use arch::addr::{ENTRIES_PER_TABLE, PAGE_SIZE};
use arch::pte::{Kind, PteFlags};
use arch::{Desc, Level, Machine, Pfn, PhysAddr, PhysMem, VirtAddr};

use super::layout::Layout;
use super::{BATCH, HvoError};
use crate::env::KernelEnv;
use crate::pgtable::{Flusher, Missing, PtRoot};
use crate::steps::{self, Owed, Step, StepKind};

/// Entries of one folio that are replaced: what [`Layout::freed`] gives for 2 MiB, the one size of the pool.
pub const RUN: usize = 7;

/// What a strategy is given for one folio: addresses and finished descriptors.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    pub(super) pfn: Pfn,
    first: VirtAddr,
    block: Option<Desc>,
    pub(super) table: Option<PhysAddr>,
    pub(super) old: [Desc; RUN],
    pub(super) new: [Desc; RUN],
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

    /// Plans the new descriptors: entry `n` of the run comes to map `frame(n)` with the rights it has,
    /// changed by `rights`.
    pub(super) fn target(
        &mut self,
        frame: impl Fn(usize) -> PhysAddr,
        rights: impl Fn(PteFlags) -> PteFlags,
    ) {
        for n in 0..RUN {
            let flags = self.old[n].flags(Level::L3);
            self.new[n] = Desc::leaf(frame(n), Level::L3, rights(flags));
        }
    }

    /// The frames that the run maps before.
    pub(super) fn old_frames(&self) -> impl Iterator<Item = Pfn> {
        self.old.iter().map(|desc| desc.output(Level::L3).pfn())
    }

    /// The frames that the run maps after.
    pub(super) fn new_frames(&self) -> impl Iterator<Item = Pfn> {
        self.new.iter().map(|desc| desc.output(Level::L3).pfn())
    }
}

/// The level-3 descriptor that maps page `n` of a level-2 block, with the block's rights.
fn page_of_block(block: Desc, n: usize) -> Desc {
    let pa = block.output(Level::L2).add(n as u64 * PAGE_SIZE);
    Desc::leaf(pa, Level::L3, block.flags(Level::L2).difference(PteFlags::NT))
}

/// Fills a table that is not linked yet with the pages of `block`: the same frames, the same rights.
pub(super) fn fill_table(table: PhysAddr, block: Desc) {
    for n in 0..ENTRIES_PER_TABLE {
        Machine::write_desc(table.add(8 * n as u64), page_of_block(block, n));
    }
}

/// Up to [`BATCH`] plans.
pub(super) struct Batch {
    plans: [Plan; BATCH],
    len: usize,
}

impl Batch {
    pub(super) const fn new() -> Self {
        Batch { plans: [Plan::EMPTY; BATCH], len: 0 }
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

    fn try_replace(&mut self, plan: &Plan) -> Result<Replaced, HvoError> {
        let (block_va, split) = self.verify(plan)?;
        self.announce_walk(self.names.begin, plan.first);
        let replaced = match split {
            Some((block, table)) => {
                self.split(block_va, block, table)?;
                Replaced::SplitAndEntries
            }
            None => Replaced::Entries,
        };
        self.replace_run(plan)?;
        self.announce_walk(self.names.end, plan.first);
        Ok(replaced)
    }

    /// Holds everything that will change against the plan. Returns the block that must be split, with its
    /// table.
    fn verify(&self, plan: &Plan) -> Result<(VirtAddr, Option<(Desc, PhysAddr)>), HvoError> {
        let last = self.tree.walk(plan.first).last();
        let found = HvoError::Entry(plan.first, last.desc);
        let block_va = plan.first.align_down(Level::L2.entry_bytes());
        if last.level == Level::L2 {
            let table = plan.table.ok_or(found)?;
            return if plan.block == Some(last.desc) {
                Ok((block_va, Some((last.desc, table))))
            } else {
                Err(found)
            };
        }
        for (n, &old) in plan.old.iter().enumerate() {
            let va = plan.first.add(n as u64 * PAGE_SIZE);
            let desc = self.tree.walk(va).last().desc;
            if desc != old {
                return Err(HvoError::Entry(va, desc));
            }
        }
        Ok((block_va, None))
    }

    /// Replaces a block by a table that maps the same. Until the table stands, none of the 32768 struct pages
    /// of the block can be touched.
    fn split(&mut self, va: VirtAddr, block: Desc, table: PhysAddr) -> Result<(), HvoError> {
        let (env, link) = (self.env, Desc::table(table));
        let entry = self.tree.entry(self.flusher, va, Level::L2).map_err(|missing| not_there(va, missing))?;
        let at = Place { slot: entry.slot(), level: Level::L2, va };
        let broken =
            entry.break_live(1, |_, old| at.announce(env, StepKind::HvoSplitBreak, old, Desc::INVALID));
        let clean = broken.flush();
        at.announce(env, StepKind::HvoSplitFlush, block, Desc::INVALID);
        clean.make(|_| link, |_, new| at.announce(env, StepKind::HvoSplitMake, Desc::INVALID, new));
        Ok(())
    }

    /// Breaks the run, flushes once, and makes it anew.
    fn replace_run(&mut self, plan: &Plan) -> Result<(), HvoError> {
        let (env, names, va) = (self.env, self.names, plan.first);
        let entry = self.tree.entry(self.flusher, va, Level::L3).map_err(|missing| not_there(va, missing))?;
        let first = Place { slot: entry.slot(), level: Level::L3, va };
        let broken = entry.break_live(RUN, |entry, old| {
            Place::of(entry).announce(env, names.broken, old, Desc::INVALID);
        });
        let clean = broken.flush();
        first.announce(env, names.flushed, plan.old[0], Desc::INVALID);
        clean.make(
            |n| plan.new[n],
            |entry, new| Place::of(entry).announce(env, names.made, Desc::INVALID, new),
        );
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
        steps::announce(env, &Step { kind, owed: owed_after(kind), level, va, slot, old, new });
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
