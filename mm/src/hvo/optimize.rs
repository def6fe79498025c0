//! Optimising: plan everything, split and remap, give the old frames to the buddy allocator.
#![forbid(unsafe_code)]

use arch::addr::PAGE_SIZE;
use arch::{Machine, Pfn, PhysAddr, PhysMem};

use super::batch::{self, Batch, OWN, Plan};
use super::direction::Direction;
use super::frames::Frames;
use super::layout::{Fate, Layout};
use super::{BatchOutcome, HvoError, split, strategy};
use crate::Mm;
use crate::config::{HvoSplit, TailEncoding};
use crate::page::tails::{self, PER_VMEMMAP_PAGE};
use crate::page::{Flags, PageKind, PageRef, page_of};
use crate::pgtable::walk;
use crate::stats::Counter;
use crate::trace::Point;

/// Optimises one folio; see [`optimize_folios`].
///
/// # Errors
/// [`HvoError`]: why the folio stayed as it was.
// Walk B.4: everything is allocated before anything changes.
pub fn optimize_folio(mm: &Mm, head: PageRef) -> Result<(), HvoError> {
    optimize_folios(mm, core::iter::once(head)).into_result()
}

/// Optimises frozen hugetlb folios of any sizes, [`super::MOST_ENTRIES`] entries for each time that the strategy disturbs other
/// CPUs or flushes. May sleep: the caller holds no spinlock. A folio that cannot be optimised stays as it was.
pub fn optimize_folios(mm: &Mm, heads: impl IntoIterator<Item = PageRef>) -> BatchOutcome {
    let mut heads = heads.into_iter().peekable();
    if let Some(strategy) = strategy::chosen(mm).filter(|_| heads.peek().is_some()) {
        strategy.prepare(mm);
    }
    THERE.carry_out(mm, heads)
}

const THERE: Direction = Direction { point: Point::Optimise, plan, remap };

fn remap(mm: &Mm, mut batch: Batch, outcome: &mut BatchOutcome) {
    if let Some(strategy) = strategy::chosen(mm) {
        split::split(mm, &mut batch);
        strategy.optimise(mm, &batch);
    }
    let (plans, splits) = batch.into_parts();
    split::settle(mm, splits);
    for plan in plans {
        let pfn = plan.pfn;
        settle(mm, plan);
        outcome.record(pfn, Ok(()));
    }
}

/// Checks the folio and plans its remap; what was allocated for it is given back where it cannot be.
fn plan(mm: &Mm, head: PageRef, batch: &mut Batch) -> Result<Plan, HvoError> {
    let layout = check_folio(mm, head)?;
    let pfn = head.pfn();
    let mut frames = Frames::NONE;
    let block = batch::survey(mm, pfn, layout, OWN, |first, pages| frames.push(first, pages))?;
    let shared = match mm.config.tails {
        TailEncoding::Mask => mm.hvo.shared.get_or_make(mm, layout.order())?,
        TailEncoding::Pointer => head_frame(mm, pfn)?,
    };
    if cfg!(debug_assertions) {
        check_tails(mm, head, layout, &frames, shared)?;
    }
    batch.reserve()?;
    if let Some(va) = block {
        if mm.hvo.split() == HvoSplit::Refuse {
            return Err(HvoError::Unsplit(va));
        }
        batch.plan_splits(mm, pfn, layout)?;
    }
    Ok(Plan { pfn, layout, shared, info: tails::encode(mm.config.tails, head, layout.order()), frames })
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
///
/// # Errors
/// [`HvoError::Entry`]: it has no translation.
pub(super) fn head_frame(mm: &Mm, pfn: Pfn) -> Result<PhysAddr, HvoError> {
    let va = page_of(pfn).address();
    let last = walk(mm.kernel_root(), va).last();
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
    frames: &Frames,
    shared: PhysAddr,
) -> Result<(), HvoError> {
    let encoding = mm.config.tails;
    let info = tails::encode(encoding, head, layout.order());
    let pristine = |n: u64, from: u64| {
        let first = n * PER_VMEMMAP_PAGE;
        (first + from..first + PER_VMEMMAP_PAGE).all(|i| head.nth(i).is_pristine_tail(info))
    };
    // Where the shared page is the head's, the first page of tails stands for what all must hold.
    let (mut frames, mut model) = (frames.iter(), (encoding == TailEncoding::Mask).then_some(shared));
    for n in 0..layout.pages() {
        let frame = if layout.fate(n) == Fate::Freed { frames.next() } else { None };
        let whole = match (frame, model) {
            (None, _) => pristine(n, 1),
            (Some(frame), Some(model)) => Machine::equal(frame, model, PAGE_SIZE),
            (Some(frame), None) => {
                model = Some(frame);
                pristine(n, 0)
            }
        };
        if !whole {
            return Err(HvoError::NotPristine(layout.page(head.pfn(), n)));
        }
    }
    Ok(())
}

/// Notes that a folio is optimised, and gives up the frames that no entry maps any more.
fn settle(mm: &Mm, plan: Plan) {
    page_of(plan.pfn).set_flags(Flags::HVO);
    mm.stats.inc(Counter::NrHvoOptimized);
    mm.stats.add(Counter::NrVmemmapFreed, plan.frames.len());
    plan.frames.free(mm);
}
