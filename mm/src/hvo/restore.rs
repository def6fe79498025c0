//! Restoring: the folio gets vmemmap pages of its own again, before it may be taken apart and freed.
#![forbid(unsafe_code)]

use arch::pte::PteFlags;
use arch::{Order, PhysAddr};

use super::layout::Layout;
use super::remap::{Batch, Plan, RUN};
use super::{BATCH, BatchOutcome, HvoError, strategy};
use crate::Mm;
use crate::error::OutOfMemory;
use crate::page::{Flags, FolioRef, PageKind, PageRef, page_of, tails};
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
    let mut frames = [const { Frames::NONE }; BATCH];
    for &head in heads {
        match plan(mm, head, &mut frames[batch.plans().len()]) {
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
    for (plan, frames) in batch.plans_mut().iter_mut().zip(frames) {
        outcome.record(plan.pfn, settle(mm, plan, frames));
    }
}

/// The pages of one folio, from plan to settlement. They are no part of the plan, which a strategy sees.
struct Frames([Option<FolioRef>; RUN]);

impl Frames {
    const NONE: Frames = Frames([const { None }; RUN]);

    /// Takes all or none.
    fn alloc(&mut self, mm: &Mm) -> Result<(), OutOfMemory> {
        for n in 0..RUN {
            match mm.alloc_pages(Order::PAGE, PageKind::Vmemmap) {
                Ok(frame) => self.0[n] = Some(frame),
                Err(error) => {
                    self.take().for_each(|frame| mm.free_pages(frame, Order::PAGE));
                    return Err(error);
                }
            }
        }
        Ok(())
    }
    fn addresses(&self) -> impl Iterator<Item = PhysAddr> {
        self.0.iter().flatten().map(|frame| frame.pfn().phys())
    }
    fn take(&mut self) -> impl Iterator<Item = FolioRef> {
        self.0.iter_mut().filter_map(Option::take)
    }
}

/// Checks the folio, and allocates and fills its pages.
fn plan(mm: &Mm, head: PageRef, frames: &mut Frames) -> Result<Plan, HvoError> {
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
    frames.alloc(mm)?;
    let info = tails::encode(mm.config.tails, head, layout.order());
    frames.addresses().for_each(|frame| tails::write_page(frame, info));
    plan.target(frames.addresses(), |rights| rights.difference(PteFlags::READ_ONLY));
    Ok(plan)
}

/// Notes what became of the plan, and of its frames.
fn settle(mm: &Mm, plan: &mut Plan, mut frames: Frames) -> Result<(), HvoError> {
    if let Err(error) = plan.outcome {
        frames.take().for_each(|frame| mm.free_pages(frame, Order::PAGE));
        mm.stats.inc(Counter::HvoRestoreFailed);
        return Err(error);
    }
    // The entries have the references. What they mapped before is shared: no reference comes back.
    frames.take().for_each(FolioRef::leave);
    if let Some(shared) = plan.displaced.take() {
        shared.keep();
    }
    page_of(plan.pfn).clear_flags(Flags::HVO);
    mm.stats.sub(Counter::NrHvoOptimized, 1);
    mm.stats.inc(Counter::HvoRestore);
    mm.stats.sub(Counter::NrVmemmapFreed, RUN as u64);
    Ok(())
}
