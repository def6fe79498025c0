//! Every folio's vmemmap against its flag: part of the check of everything.
#![forbid(unsafe_code)]

use core::fmt;

use arch::pte::PteFlags;
use arch::{Order, Pfn, PhysAddr};

use super::describe::{VmemmapEntry, describe};
use super::remap::RUN;
use crate::Mm;
use crate::config::TailEncoding;
use crate::page::{Flags, PageRef};
use crate::stats::Counter;

/// What does not hold.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Wrong {
    /// A vmemmap page of this folio is not mapped as the folio's flag says.
    Entry(Pfn, VmemmapEntry),
    /// This page of the folio leads to another head.
    Head(Pfn, PageRef),
    /// A counter, its value, and what the scan gives.
    Counter(Counter, u64, u64),
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Wrong::Entry(pfn, entry) => write!(f, "vmemmap of the folio at pfn {pfn}: {entry}"),
            Wrong::Head(pfn, head) => write!(f, "pfn {pfn} leads to the head {head:?}"),
            Wrong::Counter(counter, value, scan) => {
                write!(f, "{} is {value}, a scan gives {scan}", counter.name())
            }
        }
    }
}

/// Checks the vmemmap of one hugetlb folio: entries, and that all its pages lead to its head.
///
/// # Errors
/// The first thing that is [`Wrong`].
pub fn check_folio(mm: &Mm, head: PageRef) -> Result<(), Wrong> {
    let pfn = head.pfn();
    let entries = describe(mm, pfn);
    let shared = match (head.flags().contains(Flags::HVO), mm.config.tails) {
        (false, _) => None,
        (true, TailEncoding::Mask) => mm.hvo.shared.get(Order::PMD),
        (true, TailEncoding::Pointer) => entries[0].output(),
    };
    if let Some(n) = (0..entries.len()).find(|&n| !entry_holds(&entries, n, shared)) {
        return Err(Wrong::Entry(pfn, entries[n]));
    }
    match (0..Order::PMD.pages()).map(|n| head.nth(n)).find(|page| page.head(mm.config.tails) != head) {
        Some(page) => Err(Wrong::Head(page.pfn(), page.head(mm.config.tails))),
        None => Ok(()),
    }
}

/// Entry 0, and every entry of a folio that is not optimised: writable, a frame that no other entry maps. Entries
/// 1..=7 of an optimised one: the shared page, read-only.
fn entry_holds(entries: &[VmemmapEntry], n: usize, shared: Option<PhysAddr>) -> bool {
    let entry = &entries[n];
    let read_only = entry.flags().contains(PteFlags::READ_ONLY);
    match shared {
        Some(page) if n > 0 => read_only && entry.output() == Some(page),
        _ => {
            let own = |other: &VmemmapEntry| other.va == entry.va || other.output() != entry.output();
            let alone = shared.is_some() || entries.iter().all(own);
            entry.output().is_some() && !read_only && alone
        }
    }
}

/// Checks the gauges against the number of optimised folios that a scan found.
///
/// # Errors
/// The first counter that is [`Wrong`].
pub fn check_counters(mm: &Mm, optimized: u64) -> Result<(), Wrong> {
    for (counter, scan) in
        [(Counter::NrHvoOptimized, optimized), (Counter::NrVmemmapFreed, optimized * RUN as u64)]
    {
        let value = mm.stats.get(counter);
        if value != scan {
            return Err(Wrong::Counter(counter, value, scan));
        }
    }
    Ok(())
}
