//! HVO's part of the full check: every folio's vmemmap against its flag, and the gauges against a scan.
#![forbid(unsafe_code)]

use arch::addr::PAGE_SIZE;
use arch::pte::PteFlags;
use arch::{Machine, Order, PhysAddr, PhysMem};

use super::describe::{VmemmapEntry, describe};
use super::remap::RUN;
use crate::Mm;
use crate::check::{Inconsistency, Report, agree};
use crate::config::TailEncoding;
use crate::page::{Flags, PageRef, page_of, tails};
use crate::stats::Counter;

/// Checks how the vmemmap of one hugetlb folio is mapped: entry 0, and every entry of a folio that is not
/// optimised, to a frame of its own, writable; entries 1..=7 of an optimised one to the shared page,
/// read-only.
///
/// # Errors
/// The first [`Inconsistency`].
pub(crate) fn check_folio(mm: &Mm, head: PageRef) -> Result<(), Inconsistency> {
    let entries = describe(mm, head.pfn());
    let shared = shared_page(mm, head, &entries)?;
    for (n, entry) in entries.iter().enumerate() {
        match shared {
            Some(page) if n > 0 => check_shared(head, entry, page)?,
            _ => check_own(head, entry, &entries[..n])?,
        }
    }
    Ok(())
}

/// The page that entries 1..=7 map if the folio is optimised.
fn shared_page(mm: &Mm, head: PageRef, entries: &[VmemmapEntry]) -> Result<Option<PhysAddr>, Inconsistency> {
    let optimized = head.flags().contains(Flags::HVO);
    match mm.config.tails {
        _ if !optimized => Ok(None),
        TailEncoding::Pointer => Ok(entries[0].output()),
        TailEncoding::Mask => {
            let page = mm.hvo.shared.get(Order::PMD);
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

fn check_own(head: PageRef, entry: &VmemmapEntry, before: &[VmemmapEntry]) -> Result<(), Inconsistency> {
    let pfn = Some(head.pfn());
    agree("a vmemmap page of its own is writable", pfn, 0, is_read_only(entry).into())?;
    let twice = before.iter().filter(|other| other.output() == entry.output()).count() as u64;
    agree("other vmemmap pages on the same frame", pfn, 0, twice)
}

fn is_read_only(entry: &VmemmapEntry) -> bool {
    entry.flags().contains(PteFlags::READ_ONLY)
}

/// Checks the gauges against the number of optimised folios that a scan found, and that nobody has written to
/// the shared page.
///
/// # Errors
/// The first [`Inconsistency`].
pub(crate) fn check_counters(mm: &Mm, optimized: u64, report: &Report) -> Result<(), Inconsistency> {
    let freed = optimized * RUN as u64;
    agree("vmemmap pages that are mapped read-only", None, freed, report.read_only_vmemmap)?;
    agree("nr_hvo_optimized", None, optimized, mm.stats.get(Counter::NrHvoOptimized))?;
    agree("nr_vmemmap_freed", None, freed, mm.stats.get(Counter::NrVmemmapFreed))?;
    mm.hvo.shared.get(Order::PMD).map_or(Ok(()), check_shared_page)
}

/// Every struct page of the shared page is a pristine tail.
fn check_shared_page(page: PhysAddr) -> Result<(), Inconsistency> {
    let pfn = page.pfn();
    let info = tails::encode(TailEncoding::Mask, page_of(pfn), Order::PMD);
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
