//! Optimising: plan everything, let the strategy replace, give the old frames to the buddy allocator.
#![forbid(unsafe_code)]

use arch::addr::PAGE_SIZE;
use arch::{Level, Machine, Pfn, PhysAddr, PhysMem};

use super::layout::{Fate, Layout};
use super::remap::{self, Batch, Plan, RUN, Replaced};
use super::{BATCH, BatchOutcome, HvoError, strategy};
use crate::Mm;
use crate::config::TailEncoding;
use crate::page::tails::{self, PER_VMEMMAP_PAGE};
use crate::page::{Flags, PageKind, PageRef, page_of};
use crate::pgtable::entry::read_only;
use crate::pgtable::{Displaced, FlushTag, Gather};
use crate::stats::Counter;

/// Optimises one folio; see [`optimize_folios`].
///
/// # Errors
/// [`HvoError`]: why the folio stayed as it was.
// Walk B.4: everything is allocated before anything changes.
pub fn optimize_folio(mm: &Mm, head: PageRef) -> Result<(), HvoError> {
    optimize_folios(mm, &[head]).into_result()
}

/// Optimises frozen hugetlb folios, [`BATCH`] of them for each time that the strategy disturbs other CPUs.
/// May sleep: the caller holds no spinlock. A folio that cannot be optimised stays as it was.
pub fn optimize_folios(mm: &Mm, heads: &[PageRef]) -> BatchOutcome {
    let mut outcome = BatchOutcome::NOTHING;
    for chunk in heads.chunks(BATCH) {
        optimize_chunk(mm, chunk, &mut outcome);
    }
    outcome
}

fn optimize_chunk(mm: &Mm, heads: &[PageRef], outcome: &mut BatchOutcome) {
    let mut batch = Batch::new();
    for &head in heads {
        match plan(mm, head, batch.plans()) {
            Ok(plan) => batch.push(plan),
            Err(error) => outcome.record(head.pfn(), Err(error)),
        }
    }
    if let Some(strategy) = strategy::chosen(mm).filter(|_| !batch.plans().is_empty()) {
        strategy.optimise(mm, batch.plans_mut());
    }
    mm.gather(FlushTag::Kernel, |gather| {
        for plan in batch.plans_mut() {
            outcome.record(plan.pfn, settle(mm, plan, gather));
        }
    });
}

/// Checks the folio and plans its remap. `earlier` are the plans of the same batch.
fn plan(mm: &Mm, head: PageRef, earlier: &[Plan]) -> Result<Plan, HvoError> {
    let layout = check_folio(mm, head)?;
    let pfn = head.pfn();
    let mut plan = mm.with_kernel_tree(|tree, _| Plan::survey(tree, pfn, layout))?;
    let shared = match mm.config.tails {
        TailEncoding::Mask => mm.hvo.shared.get_or_make(mm, layout.order())?,
        TailEncoding::Pointer => head_frame(mm, pfn)?,
    };
    check_tails(mm, head, layout, &plan, shared)?;
    plan.target(core::iter::repeat(shared), read_only);
    if let Some((block_va, block)) = plan.block() {
        let planned = |p: &Plan| p.table.is_some() && p.block().is_some_and(|(va, _)| va == block_va);
        if !earlier.iter().any(planned) {
            let mut table = mm.alloc_table()?;
            remap::fill_table(&mut table, block);
            plan.table = Some(table);
        }
    }
    Ok(plan)
}

/// Whether this is a frozen hugetlb folio that is not optimised.
fn check_folio(mm: &Mm, head: PageRef) -> Result<Layout, HvoError> {
    let pfn = head.pfn();
    strategy::chosen(mm).ok_or(HvoError::Off)?;
    if head.kind() != PageKind::Hugetlb || !head.flags().contains(Flags::HEAD) {
        return Err(HvoError::NotHugetlb(pfn));
    }
    let layout = Layout::of(head.order())?;
    if head.flags().contains(Flags::HVO) {
        return Err(HvoError::Optimized(pfn));
    }
    match head.refcount() {
        0 => Ok(layout),
        n => Err(HvoError::NotFrozen(pfn, n)),
    }
}

/// The frame that holds the head's struct page.
fn head_frame(mm: &Mm, pfn: Pfn) -> Result<PhysAddr, HvoError> {
    let va = page_of(pfn).address();
    let last = mm.with_kernel_tree(|tree, _| tree.walk(va).last());
    if !last.desc.is_leaf(last.level) {
        return Err(HvoError::Entry(va, last.desc));
    }
    let offset = va.raw() & (last.level.entry_bytes() - 1);
    Ok(last.desc.output(last.level).add(offset).pfn().phys())
}

/// Whether every tail is pristine, so that the shared page says the same as the pages that go. Nobody writes
/// the tails of a frozen folio, so what holds now still holds when they are remapped.
fn check_tails(
    mm: &Mm,
    head: PageRef,
    layout: Layout,
    plan: &Plan,
    shared: PhysAddr,
) -> Result<(), HvoError> {
    let encoding = mm.config.tails;
    let info = tails::encode(encoding, head, layout.order());
    for n in 0..layout.pages() {
        let first = n * PER_VMEMMAP_PAGE;
        let each = |from: u64| (from..first + PER_VMEMMAP_PAGE).all(|i| head.nth(i).is_pristine_tail(info));
        let pristine = match (layout.fate(n), encoding) {
            (Fate::Kept, _) => each(first + 1),
            (Fate::Freed, TailEncoding::Pointer) => each(first),
            (Fate::Freed, TailEncoding::Mask) => {
                let frame = plan.old[(n - layout.kept()) as usize].output(Level::L3);
                Machine::equal(frame, shared, PAGE_SIZE)
            }
        };
        if !pristine {
            return Err(HvoError::NotPristine(layout.page(head.pfn(), n)));
        }
    }
    Ok(())
}

/// Notes what became of the plan, and hands over what is no longer used.
fn settle(mm: &Mm, plan: &mut Plan, gather: &mut Gather<'_>) -> Result<(), HvoError> {
    if plan.outcome == Ok(Replaced::SplitAndEntries) {
        mm.stats.inc(Counter::HvoSplitPmd);
    }
    if let Some(table) = plan.table.take() {
        mm.free_table(table);
    }
    plan.outcome?;
    page_of(plan.pfn).set_flags(Flags::HVO);
    mm.stats.inc(Counter::NrHvoOptimized);
    mm.stats.inc(Counter::HvoOptimize);
    if let Some(frames) = plan.displaced.take() {
        release_frames(mm, frames, gather);
    }
    Ok(())
}

/// Gives the frames that no entry maps any more to the buddy allocator.
// Walk B.8: the freed vmemmap pages leave through the gather.
fn release_frames(mm: &Mm, frames: Displaced<RUN>, gather: &mut Gather<'_>) {
    gather.hold_displaced(frames);
    mm.stats.add(Counter::NrVmemmapFreed, RUN as u64);
}
