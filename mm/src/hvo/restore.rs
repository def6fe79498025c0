//! Restoring: the folio gets vmemmap pages of its own again, before it may be taken apart and freed.
#![forbid(unsafe_code)]

use arch::Order;
use arch::pte::PteFlags;

use super::layout::Layout;
use super::remap::{Batch, Plan, RUN};
use super::{BATCH, BatchOutcome, HvoError, strategy};
use crate::Mm;
use crate::error::OutOfMemory;
use crate::page::{Flags, PageKind, PageRef, page_of, tails};
use crate::stats::Counter;

/// Restores one folio; see [`restore_folios`].
///
/// # Errors
/// [`HvoError`]: why the folio stayed optimised.
pub fn restore_folio(mm: &Mm, head: PageRef) -> Result<(), HvoError> {
    restore_folios(mm, &[head]).into_result()
}

/// Restores frozen, optimised folios, [`BATCH`] of them for each time that the strategy disturbs other CPUs.
/// May sleep: the caller holds no spinlock. A folio whose seven pages cannot be had stays optimised.
// Walk B.9: the way back, by the same stops.
pub fn restore_folios(mm: &Mm, heads: &[PageRef]) -> BatchOutcome {
    let mut outcome = BatchOutcome::NOTHING;
    for chunk in heads.chunks(BATCH) {
        restore_chunk(mm, chunk, &mut outcome);
    }
    outcome
}

fn restore_chunk(mm: &Mm, heads: &[PageRef], outcome: &mut BatchOutcome) {
    let mut batch = Batch::new();
    for &head in heads {
        match plan(mm, head) {
            Ok(plan) => batch.push(plan),
            Err(error) => {
                mm.stats.inc(Counter::HvoRestoreFailed);
                outcome.record(head.pfn(), Err(error));
            }
        }
    }
    if let Some(strategy) = strategy::chosen(mm).filter(|_| !batch.plans().is_empty()) {
        strategy.restore(mm, batch.plans_mut());
    }
    for plan in batch.plans() {
        outcome.record(plan.pfn, settle(mm, plan));
    }
}

/// Checks the folio, and allocates and fills its pages.
fn plan(mm: &Mm, head: PageRef) -> Result<Plan, HvoError> {
    let pfn = head.pfn();
    strategy::chosen(mm).ok_or(HvoError::Off)?;
    if !head.flags().contains(Flags::HVO) {
        return Err(HvoError::NotOptimized(pfn));
    }
    if head.refcount() != 0 {
        return Err(HvoError::NotFrozen(pfn, head.refcount()));
    }
    let layout = Layout::of(head.order())?;
    let mut plan = mm.with_kernel_tree(|tree, _| Plan::survey(tree, pfn, layout))?;
    let frames = alloc_frames(mm)?;
    let info = tails::encode(mm.config.tails, head, layout.order());
    for frame in frames {
        tails::write_page(frame.pfn().phys(), info);
    }
    plan.target(|n| frames[n].pfn().phys(), |rights| rights.difference(PteFlags::READ_ONLY));
    Ok(plan)
}

/// The pages of one folio; all or none.
fn alloc_frames(mm: &Mm) -> Result<[PageRef; RUN], OutOfMemory> {
    let mut frames = [mm.alloc_pages(Order::PAGE, PageKind::Vmemmap)?; RUN];
    for n in 1..RUN {
        match mm.alloc_pages(Order::PAGE, PageKind::Vmemmap) {
            Ok(frame) => frames[n] = frame,
            Err(error) => {
                frames[..n].iter().for_each(|&frame| mm.free_pages(frame, Order::PAGE));
                return Err(error);
            }
        }
    }
    Ok(frames)
}

/// Notes what became of the plan.
fn settle(mm: &Mm, plan: &Plan) -> Result<(), HvoError> {
    if let Err(error) = plan.outcome {
        plan.new_frames().for_each(|frame| mm.free_pages(page_of(frame), Order::PAGE));
        mm.stats.inc(Counter::HvoRestoreFailed);
        return Err(error);
    }
    page_of(plan.pfn).clear_flags(Flags::HVO);
    mm.stats.sub(Counter::NrHvoOptimized, 1);
    mm.stats.inc(Counter::HvoRestore);
    mm.stats.sub(Counter::NrVmemmapFreed, RUN as u64);
    Ok(())
}
