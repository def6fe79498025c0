//! HVO's part of the full check: every folio's vmemmap against its flag, and the gauges against a scan.
#![forbid(unsafe_code)]

use arch::addr::PAGE_SIZE;
use arch::pte::PteFlags;
use arch::{Machine, Order, PhysAddr, PhysMem};

use super::describe::{VmemmapEntry, entry};
use super::layout::Layout;
use crate::Mm;
use crate::check::{Inconsistency, Report, agree};
use crate::config::TailEncoding;
use crate::page::{Flags, PageRef, page_of, tails};
use crate::stats::Counter;

/// Checks how the vmemmap of one hugetlb folio is mapped: the page that is kept, and every page of a folio that is not
/// optimised, to a frame of its own, writable; the others of an optimised one to the shared page, read-only. (That no
/// frame is mapped twice is seen when all of vmemmap is.) Returns how many pages were freed.
///
/// # Errors
/// The first [`Inconsistency`].
pub(crate) fn check_folio(mm: &Mm, head: PageRef) -> Result<u64, Inconsistency> {
    let Ok(layout) = Layout::of(head.order()) else {
        agree("a folio that cannot be optimised is not", Some(head.pfn()), 0, is_optimized(head).into())?;
        return Ok(0);
    };
    let entry = |n: u64| entry(mm, layout.page(head.pfn(), n));
    let shared = shared_page(mm, head, &entry(0))?;
    for n in 0..layout.pages() {
        match shared {
            Some(page) if n >= layout.kept() => check_shared(head, &entry(n), page)?,
            _ => check_own(head, &entry(n))?,
        }
    }
    Ok(if shared.is_some() { layout.freed() } else { 0 })
}

fn is_optimized(head: PageRef) -> bool {
    head.flags().contains(Flags::HVO)
}

/// The page that entries of tails map if the folio is optimised; `kept` is that of its head.
fn shared_page(mm: &Mm, head: PageRef, kept: &VmemmapEntry) -> Result<Option<PhysAddr>, Inconsistency> {
    match mm.config.tails {
        _ if !is_optimized(head) => Ok(None),
        TailEncoding::Pointer => Ok(kept.output()),
        TailEncoding::Mask => {
            let page = mm.hvo.shared.get(head.order());
            agree("the shared page of tails exists", Some(head.pfn()), 1, page.is_some().into())?;
            Ok(page)
        }
    }
}

fn check_shared(head: PageRef, entry: &VmemmapEntry, page: PhysAddr) -> Result<(), Inconsistency> {
    let pfn = Some(head.pfn());
    let found = entry.output().map_or(0, PhysAddr::raw);
    agree("the shared page at a tail's address", pfn, page.raw(), found)?;
    agree("a shared tail is read-only", pfn, 1, is_read_only(entry).into())
}

fn check_own(head: PageRef, entry: &VmemmapEntry) -> Result<(), Inconsistency> {
    let pfn = Some(head.pfn());
    agree("a vmemmap page of its own is mapped", pfn, 1, entry.output().is_some().into())?;
    agree("a vmemmap page of its own is writable", pfn, 0, is_read_only(entry).into())
}

fn is_read_only(entry: &VmemmapEntry) -> bool {
    entry.flags().contains(PteFlags::READ_ONLY)
}

/// Checks the gauges against the number of optimised folios that a scan found, and of the pages that they have freed,
/// and that nobody has written to a shared page.
///
/// # Errors
/// The first [`Inconsistency`].
pub(crate) fn check_counters(
    mm: &Mm,
    optimized: u64,
    freed: u64,
    report: &Report,
) -> Result<(), Inconsistency> {
    agree("vmemmap pages that are mapped read-only", None, freed, report.read_only_vmemmap)?;
    agree("nr_hvo_optimized", None, optimized, mm.stats.get(Counter::NrHvoOptimized))?;
    agree("nr_vmemmap_freed", None, freed, mm.stats.get(Counter::NrVmemmapFreed))?;
    for order in (0..=Order::PUD.raw()).map(Order::new) {
        mm.hvo.shared.get(order).map_or(Ok(()), |page| check_shared_page(page, order))?;
    }
    Ok(())
}

/// Every struct page of the shared page is a pristine tail.
fn check_shared_page(page: PhysAddr, order: Order) -> Result<(), Inconsistency> {
    let pfn = page.pfn();
    let info = tails::encode(TailEncoding::Mask, page_of(pfn), order);
    let expected: [u64; tails::WORDS] =
        core::array::from_fn(|n| if n == tails::INFO_WORD { info } else { 0 });
    let mut at = page;
    while at < page.add(PAGE_SIZE) {
        for word in expected {
            let mut bytes = [0; 8];
            Machine::read_bytes(at, &mut bytes);
            agree("a word of the shared page of tails", Some(pfn), word, u64::from_le_bytes(bytes))?;
            at = at.add(8);
        }
    }
    Ok(())
}
