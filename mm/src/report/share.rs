//! What one mapping's share of a page is, as exactly as the scheme can tell.
//!
//! The proportional set size (PSS) counts a page that *n* entries map as 4096/*n* bytes for each of them; the unique
//! set size (USS, the `Private` rows) counts it where no other space maps it. Both ask [`crate::mapcount`], and both
//! take what they get:
//!
//! | the scheme answers | share of the page |
//! |---|---|
//! | `page_entries` exactly: *n* | 1/max(1, *n*) |
//! | else | 1/max(1, `average`) |
//!
//! | the scheme answers | the page is |
//! |---|---|
//! | `page_entries` exactly: at most 1 | private |
//! | `page_sharing` exactly: one space | private |
//! | else | shared: "maybe shared" counts as shared |
//!
//! While a folio moves, its leaves are migration entries, which no scheme counts. What a scheme answers then is about
//! leaves that nobody has come to yet, or about none; so nothing is asked: a migration entry has the whole page, and
//! counts as shared, since somebody else's may stand for it too (Linux: `smaps_account` of an entry that is not
//! present).
//!
//! The average is what Linux takes without counts per page (`folio_average_page_mapcount`): the sum of all PSS may then
//! be more or less than the memory in use. USS may be too small, but never too large.
#![forbid(unsafe_code)]

use crate::Mm;
use crate::mapcount::{self, Answer, Claim, Question, Sharing};
use crate::page::PageRef;

/// Whether nobody else maps a page.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Owner {
    /// Nobody else.
    Private,
    /// Somebody else, or perhaps.
    Shared,
}

/// One mapping's share.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Share {
    /// Among how many mappings the page is divided; 1 or more.
    pub(super) mappings: u32,
    /// Whether the page is private.
    pub(super) owner: Owner,
}

/// The share of a page, and for which pages it holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Extent {
    /// For this page.
    Page(Share),
    /// For each page of its folio: the scheme does not tell them apart.
    Folio(Share),
}

impl Share {
    /// All of it.
    pub(super) const WHOLE: Share = Share { mappings: 1, owner: Owner::Private };
    /// That of a page that is moving: all of it, for want of a count, and others may have it.
    pub(super) const MOVING: Share = Share { mappings: 1, owner: Owner::Shared };
}

/// The share of `page`, of the folio at `head`, for somebody who maps it.
#[inline]
pub(super) fn of_page(mm: &Mm, head: PageRef, page: PageRef) -> Extent {
    if !head.is_folio() {
        return Extent::Page(share(mm, head, page));
    }
    let tells_apart = mapcount::scheme(mm).contract()[Question::PageEntries as usize] == Claim::Exact;
    if tells_apart { Extent::Page(share(mm, head, page)) } else { Extent::Folio(share(mm, head, page)) }
}

/// Whether the share of a page that is no tail is [`Share::WHOLE`] for sure.
#[inline(always)]
pub(super) fn is_mapped_once(mm: &Mm, page: PageRef) -> bool {
    matches!(mapcount::scheme(mm).page_entries(page, page), Answer::Exact(0 | 1))
}

/// Whether somebody's one leaf that maps all of the folio at `head` is all that maps any of it.
#[inline(always)]
pub(super) fn is_block_alone(mm: &Mm, head: PageRef) -> bool {
    mapcount::scheme(mm).entries(head) == Answer::Exact(1)
}

#[inline]
fn share(mm: &Mm, head: PageRef, page: PageRef) -> Share {
    let scheme = mapcount::scheme(mm);
    let mappings = match scheme.page_entries(head, page) {
        Answer::Exact(0 | 1) => return Share::WHOLE,
        Answer::Exact(entries) => entries,
        Answer::AtMost(_) | Answer::Unknown => scheme.average(head).max(1),
    };
    let owner = match scheme.page_sharing(head, page) {
        Answer::Exact(Sharing::Exclusive) => Owner::Private,
        _ => Owner::Shared,
    };
    Share { mappings, owner }
}

/// Whether no other space maps what a leaf maps of a hugetlb folio, `pages` of it from `first` on, or, where the scheme
/// does not count pages, any part of the folio (Linux: `smaps_hugetlb_range`).
pub(super) fn of_hugetlb(mm: &Mm, head: PageRef, (first, pages): (PageRef, u64)) -> Owner {
    let scheme = mapcount::scheme(mm);
    let each =
        pages != head.order().pages() && scheme.contract()[Question::PageEntries as usize] == Claim::Exact;
    let is_alone = |answer| answer == Answer::Exact(Sharing::Exclusive);
    let alone = match each {
        true => (0..pages).all(|n| is_alone(scheme.page_sharing(head, first.nth(n)))),
        false => is_alone(scheme.sharing(head)),
    };
    if alone { Owner::Private } else { Owner::Shared }
}

/// Entries that map `page`, of the folio at `head`: exact, or the average of its folio, at least 1 where anything maps
/// it.
pub(super) fn mappings(mm: &Mm, head: PageRef, page: PageRef) -> u32 {
    let scheme = mapcount::scheme(mm);
    scheme.page_entries(head, page).exact().unwrap_or_else(|| scheme.average(head))
}
