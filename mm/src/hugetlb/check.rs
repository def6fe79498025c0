//! The pool's numbers and every hugetlb folio against a scan: part of the check of everything.
#![forbid(unsafe_code)]

use core::fmt;

use arch::Pfn;

use super::hstate::SIZE_2M;
use super::pool::Counts;
use crate::Mm;
use crate::hvo::check as hvo_check;
use crate::page::{Flags, PageKind, PageRef, page_of};

/// What does not hold.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Wrong {
    /// A folio on the free list is in use, or is no hugetlb folio.
    Free(PageRef),
    /// The pool's numbers do not fit the folios: the numbers, and how many hugetlb folios a scan found, in all
    /// and with the count 0.
    Counts(Counts, u64, u64),
    /// The vmemmap of a folio.
    Hvo(hvo_check::Wrong),
}

impl From<hvo_check::Wrong> for Wrong {
    fn from(wrong: hvo_check::Wrong) -> Self {
        Wrong::Hvo(wrong)
    }
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Wrong::Free(head) => write!(f, "{head:?} on the free list of the hugetlb pool is not free"),
            Wrong::Counts(counts, all, free) => {
                write!(f, "{counts:?}, but there are {all} hugetlb folios, {free} of them free")
            }
            Wrong::Hvo(wrong) => wrong.fmt(f),
        }
    }
}

/// Checks pool and HVO against all struct pages. `pfns` is every pfn that has one. Nobody else runs meanwhile.
///
/// # Errors
/// The first thing that is [`Wrong`].
pub fn check(mm: &Mm, pfns: impl Iterator<Item = Pfn>) -> Result<(), Wrong> {
    let (mut all, mut free, mut optimized) = (0, 0, 0);
    for head in pfns.filter(|&pfn| is_head(pfn)).map(page_of) {
        hvo_check::check_folio(mm, head)?;
        all += 1;
        free += u64::from(head.refcount() == 0);
        optimized += u64::from(head.flags().contains(Flags::HVO));
    }
    hvo_check::check_counters(mm, optimized)?;
    check_free_list(mm)?;
    let counts = mm.hugetlb.counts();
    if counts.nr == all && counts.free == free && counts.reserved <= free && counts.surplus == 0 {
        Ok(())
    } else {
        Err(Wrong::Counts(counts, all, free))
    }
}

fn check_free_list(mm: &Mm) -> Result<(), Wrong> {
    let pool = mm.hugetlb.lock();
    let wrong = |head: &PageRef| !is_head(head.pfn()) || head.refcount() != 0 || head.raw_mapcount() != 0;
    let found = pool.free.iter().find(wrong);
    found.map_or(Ok(()), |head| Err(Wrong::Free(head)))
}

/// Whether this is the head of a hugetlb folio.
fn is_head(pfn: Pfn) -> bool {
    let page = page_of(pfn);
    pfn.is_aligned(SIZE_2M.order()) && page.kind() == PageKind::Hugetlb && page.flags().contains(Flags::HEAD)
}
