//! What one mapping's share of a page is, as exactly as the scheme can tell.
//!
//! The proportional set size (PSS) counts a page that *n* entries map as 4096/*n* bytes for each of them; the unique
//! set size (USS, the `Private` rows) counts it where nobody else maps it. Both ask [`crate::mapcount`], and both
//! take what they get:
//!
//! | the scheme answers | share of the page | private |
//! |---|---|---|
//! | `page_entries` exactly: *n* | 1/max(1, *n*) | if *n* is at most 1 |
//! | no number, but `sharing` exactly: one space | 1 | yes |
//! | neither | 1/max(1, entries / pages of the folio, rounded) | no: maybe shared counts as shared |
//!
//! The last row is what Linux does without counts per page (`folio_average_page_mapcount`): the sum of all PSS may
//! then be more or less than the memory in use, and USS may be too small, but never too large.
#![forbid(unsafe_code)]

use crate::Mm;
use crate::mapcount::{self, Answer, Sharing};
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
    /// For each page of its folio.
    Folio(Share),
}

impl Share {
    /// All of it.
    pub(super) const WHOLE: Share = Share { mappings: 1, owner: Owner::Private };

    fn exact(entries: u32) -> Self {
        if entries <= 1 {
            return Share::WHOLE;
        }
        Share { mappings: entries, owner: Owner::Shared }
    }
}

/// The share of `page`, of the folio at `head`, for somebody who maps it.
#[inline]
pub(super) fn of_page(mm: &Mm, head: PageRef, page: PageRef) -> Extent {
    match mapcount::scheme(mm).page_entries(head, page) {
        Answer::Exact(entries) => Extent::Page(Share::exact(entries)),
        Answer::AtMost(_) | Answer::Unknown => Extent::Folio(of_any_page(mm, head)),
    }
}

/// The share of every page of a folio that is known to be equal: somebody maps all of it, and nobody else any. `None`
/// where the scheme cannot say that.
pub(super) fn of_whole_folio(mm: &Mm, head: PageRef) -> Option<Share> {
    let scheme = mapcount::scheme(mm);
    let alone = matches!(scheme.entries(head), Answer::Exact(0 | 1) | Answer::AtMost(0 | 1))
        || scheme.sharing(head) == Answer::Exact(Sharing::Exclusive);
    alone.then_some(Share::WHOLE)
}

/// The share of any page of a folio whose pages the scheme does not tell apart.
fn of_any_page(mm: &Mm, head: PageRef) -> Share {
    of_whole_folio(mm, head)
        .unwrap_or_else(|| Share { mappings: average(mm, head).max(1), owner: Owner::Shared })
}

/// Mappings of a page of the folio on average, rounded; 0 where the scheme has no number.
pub(super) fn average(mm: &Mm, head: PageRef) -> u32 {
    let pages = head.order().pages();
    match mapcount::scheme(mm).entries(head) {
        Answer::Exact(entries) | Answer::AtMost(entries) => {
            ((u64::from(entries) + pages / 2) / pages).min(u32::MAX.into()) as u32
        }
        Answer::Unknown => 0,
    }
}

/// Entries that map `page`, of the folio at `head`: exact, or the average of its folio, at least 1 where anything maps
/// it.
pub(super) fn mappings(mm: &Mm, head: PageRef, page: PageRef) -> u32 {
    match mapcount::scheme(mm).page_entries(head, page) {
        Answer::Exact(entries) => entries,
        _ if !mapcount::scheme(mm).is_mapped(head) => 0,
        _ => average(mm, head).max(1),
    }
}
