//! Restoring: the folio gets vmemmap pages of its own again, before it may be taken apart and freed.
#![forbid(unsafe_code)]

use super::batch::{self, Batch, Plan, SHARED};
use super::direction::Direction;
use super::frames::Frames;
use super::layout::Layout;
use super::optimize::head_frame;
use super::{BatchOutcome, HvoError, strategy};
use crate::Mm;
use crate::config::TailEncoding;
use crate::page::{Flags, PageRef, page_of, tails};
use crate::stats::Counter;
use crate::trace::Point;

/// Restores one folio; see [`restore_folios`].
///
/// # Errors
/// [`HvoError`]: why the folio stayed optimised.
pub fn restore_folio(mm: &Mm, head: PageRef) -> Result<(), HvoError> {
    restore_folios(mm, core::iter::once(head)).into_result()
}

/// Restores frozen, optimised folios of any sizes, [`super::MOST_ENTRIES`] entries for each time that the strategy disturbs other
/// CPUs or flushes. May sleep: the caller holds no spinlock. A folio whose pages cannot be had stays optimised.
// Walk B.9: the way back, by the same stops.
pub fn restore_folios(mm: &Mm, heads: impl IntoIterator<Item = PageRef>) -> BatchOutcome {
    BACK.carry_out(mm, heads.into_iter())
}

const BACK: Direction = Direction { point: Point::Restore, plan: plan_or_say, remap };

fn remap(mm: &Mm, batch: Batch, outcome: &mut BatchOutcome) {
    if let Some(strategy) = strategy::chosen(mm) {
        strategy.restore(mm, &batch);
    }
    let (plans, _) = batch.into_parts();
    for plan in plans {
        settle(mm, &plan);
        outcome.record(plan.pfn, Ok(()));
    }
}

fn plan_or_say(mm: &Mm, head: PageRef, batch: &mut Batch) -> Result<Plan, HvoError> {
    let planned = plan(mm, head, batch);
    if planned.is_err() {
        mm.stats.note(Point::RestoreFail, 1, || [head.pfn().raw(), 0, 0, 0]);
    }
    planned
}

/// Checks the folio, and allocates and fills its pages.
fn plan(mm: &Mm, head: PageRef, batch: &mut Batch) -> Result<Plan, HvoError> {
    let pfn = head.pfn();
    strategy::chosen(mm).ok_or(HvoError::Off)?;
    if !head.flags().contains(Flags::HVO) {
        return Err(HvoError::NotOptimized(pfn));
    }
    if head.refcount() != 0 {
        return Err(HvoError::NotFrozen(pfn, head.refcount()));
    }
    let layout = Layout::of(head.order())?;
    batch::survey(mm, pfn, layout, SHARED, |_, _| Ok(()))?;
    let shared = match mm.config.tails {
        TailEncoding::Mask => mm.hvo.shared.get_or_make(mm, layout.order())?,
        TailEncoding::Pointer => head_frame(mm, pfn)?,
    };
    batch.reserve()?;
    let frames = Frames::alloc(mm, layout.freed())?;
    let info = tails::encode(mm.config.tails, head, layout.order());
    frames.fill(info);
    Ok(Plan { pfn, layout, shared, info, frames })
}

/// Notes that a folio is restored. The entries have its frames' references; what they mapped before is shared, and
/// nobody's.
fn settle(mm: &Mm, plan: &Plan) {
    page_of(plan.pfn).clear_flags(Flags::HVO);
    mm.stats.sub(Counter::NrHvoOptimized, 1);
    mm.stats.sub(Counter::NrVmemmapFreed, plan.frames.len());
}
