//! A single page: its entries are counted in its own struct page, one atomic operation a run, whatever the scheme.
#![forbid(unsafe_code)]

use super::{Answer, CountFull, LIMIT, Remains, Run, Sharing};
use crate::page::{PageKind, PageRef};

#[inline]
pub(super) fn add(run: &Run) {
    run.head.add_raw_mapcount(run.entries);
}

/// One entry that maps `page`, a single page, was made, or is about to be. Under T. As many entries as references are
/// possible, so who has taken the entry's reference need not ask whether it may be added.
#[inline]
pub(crate) fn add_one(page: PageRef) {
    page.add_raw_mapcount(1);
}

/// The first entry that maps `page` was made, or is about to be: a single page that no other entry can be made for
/// meanwhile, since nobody else knows it yet. Under T. No atomic operation is needed.
#[inline]
pub(crate) fn add_first(page: PageRef) {
    debug_assert!(!page.is_folio() && page.raw_mapcount() == 0, "{page:?} is mapped already");
    page.set_raw_mapcount(1);
}

/// One entry that maps `page`, a single page, was cleared. Under T.
#[inline]
pub(crate) fn remove_one(page: PageRef) {
    page.sub_raw_mapcount(1);
}

#[inline]
pub(super) fn remove(run: &Run) -> Remains {
    let left = run.head.sub_raw_mapcount(run.entries) - run.entries;
    if left == 0 { Remains::Nothing } else { Remains::Whole }
}

pub(super) fn may_add(run: &Run) -> Result<(), CountFull> {
    room(run.head.raw_mapcount(), run.entries)
}

/// Exact. Private memory is mapped once by each space that has it, so two entries are two spaces; of an object's memory
/// one space may have several mappings.
#[inline]
pub(super) fn sharing(page: PageRef) -> Answer<Sharing> {
    match page.raw_mapcount() {
        0 | 1 => Answer::Exact(Sharing::Exclusive),
        _ if page.is_kind(PageKind::Anon) => Answer::Exact(Sharing::Shared),
        _ => Answer::AtMost(Sharing::Shared),
    }
}

/// Whether `more` can be added to a counter that stands at `now`.
///
/// # Errors
/// [`CountFull`]: it would reach [`LIMIT`].
pub(super) fn room(now: u32, more: u32) -> Result<(), CountFull> {
    match now.checked_add(more) {
        Some(sum) if sum < LIMIT => Ok(()),
        _ => Err(CountFull),
    }
}
