//! `thp-like`: a counter for entries of the folio's own size, and one for each page.
//!
//! ```text
//!   an entry of the folio's size    whole += 1                                    one write
//!   a smaller one                   mapcount of each page that it maps += 1       one write, one cache line, a page
//!   a page's count leaves 0         pages mapped += 1
//! ```
//! The way in which anonymous huge pages were counted in Linux until 6.15 (`_entire_mapcount`, `_mapcount` of each
//! tail, `_nr_pages_mapped`), and in which the second version of hugetlb high-granularity mapping did. It alone answers
//! for each page, and it pays for that: a folio of 1 GiB that is mapped by pages has 262,144 counters to write, and the
//! tails in which they stand cannot be mapped read-only, so it excludes HVO.
//!
//! How many entries there are in all is a sum over the pages.
//!
//! **Flaw.** Whether the folio is shared is known of each page, not of the folio: where each page is mapped once, by one
//! space or by several, it cannot tell which.
#![forbid(unsafe_code)]

use arch::addr::PAGE_SIZE;

use super::scheme::rounded;
use super::single::room;
use super::{Answer, Claim, Contract, CountFull, MapcountScheme, Remains, Run, Sharing};
use crate::page::{PageKind, PageRef};

/// The scheme; it has no state of its own.
#[derive(Clone, Copy, Debug)]
pub struct ThpLike;

/// Entries of the run that map page `n` of it: one.
fn pages(run: &Run) -> impl Iterator<Item = PageRef> {
    let first = run.first;
    (0..run.pages()).map(move |n| first.nth(n))
}

/// The pages of a folio.
fn all(head: PageRef) -> impl Iterator<Item = PageRef> {
    (0..head.order().pages()).map(move |n| head.nth(n))
}

/// The entries that are smaller than the folio, one for each 4 KiB that they map, summed over all pages.
fn small(head: PageRef) -> u64 {
    match head.first_tail().sum() {
        0 => 0,
        _ => all(head).map(|page| u64::from(page.raw_mapcount())).sum(),
    }
}

impl MapcountScheme for ThpLike {
    const CONTRACT: Contract =
        [Claim::Exact, Claim::Bound, Claim::Exact, Claim::Exact, Claim::Bound, Claim::Estimate];

    fn add(run: &Run) {
        if run.is_whole() {
            run.head.first_tail().add_whole(run.entries);
            return;
        }
        let new = pages(run).filter(|page| page.add_raw_mapcount(1) == 0).count();
        if new != 0 {
            run.head.first_tail().add_sum(new as u32);
        }
    }

    fn remove(run: &Run) -> Remains {
        let tail = run.head.first_tail();
        if run.is_whole() {
            tail.sub_whole(run.entries);
        } else {
            let gone = pages(run).filter(|page| page.sub_raw_mapcount(1) == 1).count();
            if gone != 0 {
                tail.sub_sum(gone as u32);
            }
        }
        match (tail.whole(), u64::from(tail.sum())) {
            (0, 0) => Remains::Nothing,
            (0, mapped) if mapped < run.head.order().pages() => Remains::Part,
            _ => Remains::Whole,
        }
    }

    fn fold(block: &Run) {
        block.head.set_raw_mapcount(0);
        Self::add(block);
    }

    /// Each counter by itself; those of the pages are looked at one by one.
    fn may_add(run: &Run) -> Result<(), CountFull> {
        if run.is_whole() {
            return room(run.head.first_tail().whole(), run.entries);
        }
        pages(run).try_for_each(|page| room(page.raw_mapcount(), 1))
    }

    /// The sum of all counters.
    fn count(head: PageRef) -> u32 {
        let sum = u64::from(head.first_tail().whole()) + small(head);
        u32::try_from(sum).unwrap_or(u32::MAX)
    }

    /// Read without a lock, the two counters may be of different moments.
    fn is_mapped(head: PageRef) -> bool {
        let tail = head.first_tail();
        tail.whole() != 0 || tail.sum() != 0
    }

    /// Exact for a folio of up to 2 MiB. In a larger one, a block that is smaller than the folio is counted by each of
    /// its 512 pages.
    fn entries(head: PageRef) -> Answer<u32> {
        let sum = Self::count(head);
        let mixed = head.order() > arch::Order::PMD && sum != head.first_tail().whole();
        if mixed { Answer::AtMost(sum) } else { Answer::Exact(sum) }
    }

    fn page_entries(head: PageRef, page: PageRef) -> Answer<u32> {
        Answer::Exact(head.first_tail().whole() + page.raw_mapcount())
    }

    fn pages_mapped(head: PageRef) -> Answer<u32> {
        let tail = head.first_tail();
        Answer::Exact(if tail.whole() != 0 { head.order().pages() as u32 } else { tail.sum() })
    }

    /// Exact where some private page is mapped twice, and where there is one entry or none.
    fn sharing(head: PageRef) -> Answer<Sharing> {
        let tail = head.first_tail();
        let (whole, mapped) = (tail.whole(), tail.sum());
        let most = || all(head).map(|page| page.raw_mapcount()).max().unwrap_or(0);
        match (whole, mapped) {
            (0 | 1, 0) => Answer::Exact(Sharing::Exclusive),
            (0, 1) if most() == 1 => Answer::Exact(Sharing::Exclusive),
            _ if whole + most() > 1 && head.kind() == PageKind::Anon => Answer::Exact(Sharing::Shared),
            _ => Answer::AtMost(Sharing::Shared),
        }
    }

    /// Exact for a private page: each entry is another space's.
    fn page_sharing(head: PageRef, page: PageRef) -> Answer<Sharing> {
        match head.first_tail().whole() + page.raw_mapcount() {
            0 | 1 => Answer::Exact(Sharing::Exclusive),
            _ if head.kind() == PageKind::Anon => Answer::Exact(Sharing::Shared),
            _ => Answer::AtMost(Sharing::Shared),
        }
    }

    /// Over all pages; of each page [`Self::page_entries`] is exact.
    fn average(head: PageRef) -> u32 {
        let pages = head.order().bytes() / PAGE_SIZE;
        match u64::from(head.first_tail().whole()) * pages + small(head) {
            0 => 0,
            total => rounded(total, pages),
        }
    }
}
