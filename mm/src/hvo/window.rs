//! The changes of entries of which the strategies are made, each for a whole list and with one flush for it.
//!
//! # Guarantee
//! Nothing here touches a struct page, takes a lock, or allocates: between break and make some struct pages have no
//! translation, and after [`StepKind::HvoSplitBreak`] even those that describe the page tables have none. What an entry
//! comes to map was found or allocated when the list was planned.
//!
//! ```text
//!   split      block:   break . flush . table              or   table over block . flush          512 entries, all alike
//!   by break   pages:   break . flush . make
//!   by rights  pages:   read-only . flush . (copy) . other address . flush                        towards the shared page
//!                       other address . flush . (copy) . writable . flush                         towards pages of their own
//!                       relay . flush . rewrite . other address . flush . writable . flush        towards smaller folios
//! ```
#![forbid(unsafe_code)]

use arch::addr::PAGE_SIZE;
use arch::pte::PteFlags;
use arch::{Desc, Level, Machine, PhysMem};

use super::batch::{Batch, OWN, Plan, SHARED, Split};
use super::divide::Division;
use crate::Mm;
use crate::page::tails;
use crate::pgtable::{Flusher, LooseTable, PtRoot, Runs, Told, WalkStep};
use crate::steps::{self, Owed, Step, StepKind};

/// Which way folios go.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Way {
    /// To the page that is shared.
    Optimise,
    /// To pages of their own.
    Restore,
}

/// How the bytes behind the old and the new address come to be equal where an entry is changed without a break.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Equal {
    /// They are, as every tail of an order says the same.
    ByItself,
    /// What is mapped read-only is written through the linear map.
    Copied,
}

/// The kernel's tree, locked, while a list of folios is remapped.
pub struct Window<'w> {
    tree: &'w mut PtRoot,
    flusher: Flusher<'w>,
    mm: &'w Mm,
}

impl<'w> Window<'w> {
    /// Locks the tree (V) and gives it to `f`. Whoever may touch what `f` breaks is kept away, or waits.
    pub(super) fn with<R>(mm: &Mm, f: impl FnOnce(Window<'_>) -> R) -> R {
        mm.with_kernel_tree(|tree, flusher| f(Window { tree, flusher, mm }))
    }

    /// Replaces blocks by tables that map the same, by breaks. Until the tables stand, none of the 32768 struct pages of
    /// each block can be touched.
    pub(super) fn split_by_break(self, batch: &mut Batch) {
        let Window { tree, flusher, mm } = self;
        let (splits, blocks) = batch.blocks_left(|split| is_block(tree, split));
        let mut teller = Teller::new(mm);
        let broken = Runs::new(tree, flusher, Level::L2, blocks)
            .break_all(|told| teller.tell(StepKind::HvoSplitBreak, Owed::FlushThenMake, told));
        let clean = broken.flush();
        teller.tell_still(StepKind::HvoSplitFlush, Owed::Make);
        let _done = clean
            .make(|n| links(&mut splits[n]), |told| teller.tell(StepKind::HvoSplitMake, Owed::Nothing, told));
    }

    /// The same without a break: until the flush a TLB may hold the block, or pages of the table, which say the same
    /// (FEAT_BBM level 2, R_PVTFW). At level 2 an access may take a TLB conflict abort ([`super::fault`]).
    pub(super) fn split_directly(self, batch: &mut Batch) {
        let Window { tree, flusher, mm } = self;
        let (splits, blocks) = batch.blocks_left(|split| is_block(tree, split));
        let mut teller = Teller::new(mm);
        let stale = Runs::new(tree, flusher, Level::L2, blocks).change(
            |n| links(&mut splits[n]),
            |told| teller.tell(StepKind::HvoSplitReplace, Owed::Flush, told),
        );
        let _done = stale.flush();
        teller.tell_still(StepKind::HvoSplitFlush, Owed::Nothing);
    }

    /// Breaks all entries, flushes once, and makes them anew.
    // Walk B.6: the entries of the folios' vmemmap.
    pub(super) fn by_break(self, batch: &Batch, way: Way) {
        let Window { tree, flusher, mm } = self;
        let (names, plans) = (Names::of(way), batch.plans());
        let mut teller = Teller::new(mm);
        let runs = teller.begin(names.begin, Runs::new(tree, flusher, Level::L3, batch.runs()));
        let broken = runs.break_all(|told| teller.tell(names.broken, Owed::FlushThenMake, told));
        let clean = broken.flush();
        teller.tell_still(names.flushed, Owed::Make);
        let made = |told: Told<'_, '_>| teller.tell(names.made, Owed::Nothing, told);
        let _done = match way {
            Way::Optimise => clean.make(|n| shared(&plans[n]), made),
            Way::Restore => clean.make(|n| own(&plans[n], OWN), made),
        };
        teller.tell_still(names.end, Owed::Nothing);
    }

    /// From pages of their own to the shared page: read-only first, so that nobody can write either side, and then
    /// another address, behind which the same bytes stand.
    pub(super) fn share_by_rights(self, batch: &Batch, equal: Equal) {
        let Window { tree, flusher, mm } = self;
        let plans = batch.plans();
        let mut teller = Teller::new(mm);
        let runs = teller.begin(StepKind::HvoBegin, Runs::new(tree, flusher, Level::L3, batch.runs()));
        let stale = runs.change(
            |_| |old: Desc| old.with_flags(Level::L3, SHARED),
            |told| teller.tell(StepKind::HvoReadOnly, Owed::Flush, told),
        );
        let runs = stale.flush();
        teller.tell_still(StepKind::HvoFlush, Owed::Nothing);
        if equal == Equal::Copied {
            plans.iter().for_each(copy_shared);
            teller.tell_still(StepKind::HvoCopy, Owed::Nothing);
        }
        let stale =
            runs.change(|n| shared(&plans[n]), |told| teller.tell(StepKind::HvoRepoint, Owed::Flush, told));
        let _done = stale.flush();
        teller.tell_still(StepKind::HvoFlush, Owed::Nothing);
        teller.tell_still(StepKind::HvoEnd, Owed::Nothing);
    }

    /// From the shared page to pages of their own: another address first, behind which the same bytes stand, read-only
    /// as before; and then writable.
    pub(super) fn unshare_by_rights(self, batch: &Batch, equal: Equal) {
        let Window { tree, flusher, mm } = self;
        let plans = batch.plans();
        let mut teller = Teller::new(mm);
        let runs = teller.begin(StepKind::RestoreBegin, Runs::new(tree, flusher, Level::L3, batch.runs()));
        if equal == Equal::Copied {
            plans.iter().for_each(copy_shared);
        }
        let stale = runs.change(
            |n| own(&plans[n], SHARED),
            |told| teller.tell(StepKind::RestoreRepoint, Owed::Flush, told),
        );
        let runs = stale.flush();
        teller.tell_still(StepKind::RestoreFlush, Owed::Nothing);
        if equal == Equal::Copied {
            plans.iter().for_each(write_tails);
            teller.tell_still(StepKind::RestoreCopy, Owed::Nothing);
        }
        let stale = runs.change(
            |_| |old: Desc| old.with_flags(Level::L3, OWN),
            |told| teller.tell(StepKind::RestoreRelax, Owed::Flush, told),
        );
        let _done = stale.flush();
        teller.tell_still(StepKind::RestoreFlush, Owed::Nothing);
        teller.tell_still(StepKind::RestoreEnd, Owed::Nothing);
    }
}

impl Window<'_> {
    /// Divides a folio by breaks.
    pub(super) fn divide_by_break(self, division: &Division) {
        let Window { tree, flusher, mm } = self;
        let mut teller = Teller::new(mm);
        let all = [division.all];
        let runs = teller.begin(StepKind::HvoBegin, Runs::new(tree, flusher, Level::L3, &all));
        let broken = runs.break_all(|told| teller.tell(StepKind::HvoBreak, Owed::FlushThenMake, told));
        let clean = broken.flush();
        teller.tell_still(StepKind::HvoFlush, Owed::Make);
        let _done =
            clean.make(|_| pieces(division, OWN), |told| teller.tell(StepKind::HvoMake, Owed::Nothing, told));
        teller.tell_still(StepKind::HvoEnd, Owed::Nothing);
    }

    /// Divides a folio by way of the relay: every change is one between equal bytes, or of rights alone.
    pub(super) fn divide_by_rights(self, division: &Division) {
        let Window { tree, flusher, mm } = self;
        let mut teller = Teller::new(mm);
        let all = [division.all];
        let runs = teller.begin(StepKind::HvoBegin, Runs::new(tree, flusher, Level::L3, &all));
        let relay = Desc::leaf(division.relay, Level::L3, SHARED);
        let stale = runs
            .change(|_| move |_: Desc| relay, |told| teller.tell(StepKind::HvoRepoint, Owed::Flush, told));
        let runs = stale.flush();
        teller.tell_still(StepKind::HvoFlush, Owed::Nothing);
        tails::write_pages(division.relay, 1, division.info);
        teller.tell_still(StepKind::HvoCopy, Owed::Nothing);
        let stale = runs.change(
            |_| pieces(division, SHARED),
            |told| teller.tell(StepKind::HvoRepoint, Owed::Flush, told),
        );
        let runs = stale.flush();
        teller.tell_still(StepKind::HvoFlush, Owed::Nothing);
        let stale = runs.only(&division.head_runs).change(
            |_| |old: Desc| old.with_flags(Level::L3, OWN),
            |told| teller.tell(StepKind::RestoreRelax, Owed::Flush, told),
        );
        let _done = stale.flush();
        teller.tell_still(StepKind::RestoreFlush, Owed::Nothing);
        teller.tell_still(StepKind::HvoEnd, Owed::Nothing);
    }
}

/// For each entry of a folio that is divided, from the second on: the page of a piece's head, with these rights, or the
/// shared page of their tails.
fn pieces(division: &Division, rights: PteFlags) -> impl FnMut(Desc) -> Desc {
    let shared = Desc::leaf(division.shared, Level::L3, SHARED);
    let (mut heads, mut n) = (division.heads.iter(), 0);
    move |old| {
        n += 1;
        if n % division.piece != 0 {
            return shared;
        }
        heads.next().map_or(old, |frame| Desc::leaf(frame, Level::L3, rights))
    }
}

/// Whether the block stands there yet.
fn is_block(tree: &PtRoot, split: &Split) -> bool {
    let last = tree.walk(split.va).last();
    last.level == Level::L2 && last.desc == split.block
}

/// The link of the table that comes in the place of one block.
fn links(split: &mut Split) -> impl FnMut(Desc) -> Desc + use<> {
    let link = split.table.take().map(LooseTable::link);
    move |old| link.unwrap_or(old)
}

/// For each entry of a folio: the shared page.
fn shared(plan: &Plan) -> impl FnMut(Desc) -> Desc + use<> {
    let desc = Desc::leaf(plan.shared, Level::L3, SHARED);
    move |_| desc
}

/// For each entry of a folio: its own frame.
fn own(plan: &Plan, rights: PteFlags) -> impl FnMut(Desc) -> Desc {
    let mut frames = plan.frames.iter();
    move |old| frames.next().map_or(old, |frame| Desc::leaf(frame, Level::L3, rights))
}

/// Makes the folio's frames hold what the shared page does. Nobody can write to either but through the linear map. Who
/// reads one meanwhile finds words of both, each of a folio whose count is 0.
fn copy_shared(plan: &Plan) {
    plan.frames.iter().for_each(|frame| Machine::copy(frame, plan.shared, PAGE_SIZE));
}

/// Makes the folio's frames, which hold what the page of its head does, hold tails alone.
fn write_tails(plan: &Plan) {
    plan.frames.iter().for_each(|frame| tails::write_first(frame, plan.info));
}

/// The names of the steps of one way, by breaks.
struct Names {
    begin: StepKind,
    broken: StepKind,
    flushed: StepKind,
    made: StepKind,
    end: StepKind,
}

impl Names {
    const fn of(way: Way) -> Names {
        match way {
            Way::Optimise => Names {
                begin: StepKind::HvoBegin,
                broken: StepKind::HvoBreak,
                flushed: StepKind::HvoFlush,
                made: StepKind::HvoMake,
                end: StepKind::HvoEnd,
            },
            Way::Restore => Names {
                begin: StepKind::RestoreBegin,
                broken: StepKind::RestoreBreak,
                flushed: StepKind::RestoreFlush,
                made: StepKind::RestoreMake,
                end: StepKind::RestoreEnd,
            },
        }
    }
}

/// Tells the steps of one list. What stores nothing is told with the first part of what was stored last.
struct Teller<'w> {
    mm: &'w Mm,
    /// The first part of the last change; none yet.
    first: Option<Step>,
    /// The next part is the first of another change.
    again: bool,
}

impl<'w> Teller<'w> {
    fn new(mm: &'w Mm) -> Self {
        Teller { mm, first: None, again: true }
    }

    /// The list as it stands, of which nothing is changed yet.
    fn begin<'l, 'r>(&mut self, kind: StepKind, runs: Runs<'l, 'r>) -> Runs<'l, 'r> {
        if let Some((run, last)) = runs.first() {
            let WalkStep { slot, level, desc } = last;
            let (entries, va, owed) = (run.entries as u32, run.first, Owed::Nothing);
            let step = Step { kind, owed, level, entries, va, slot, old: desc, new: desc };
            steps::announce(self.mm, &step);
            self.first = Some(step);
        }
        runs
    }

    /// A part of a change.
    fn tell(&mut self, kind: StepKind, owed: Owed, told: Told<'_, '_>) {
        let Told { entry, entries, old, new } = told;
        let (level, va, slot) = (entry.level(), entry.va(), entry.slot());
        let step = Step { kind, owed, level, entries, va, slot, old, new };
        steps::announce(self.mm, &step);
        if core::mem::take(&mut self.again) {
            self.first = Some(step);
        }
    }

    /// Something that stores no descriptor, after the last change.
    fn tell_still(&mut self, kind: StepKind, owed: Owed) {
        if let Some(first) = self.first {
            steps::announce(self.mm, &Step { kind, owed, ..first });
            self.again = true;
        }
    }
}
