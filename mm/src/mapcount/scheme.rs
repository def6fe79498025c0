//! The contract of a way of counting.
#![forbid(unsafe_code)]

use arch::PhysAddr;

use super::{Answer, Contract, CountFull, Place, Remains, Run, Sharing};
use crate::page::PageRef;

/// What a way of counting promises for folios of order 1 or more. `head` is a head; a tail is never given, and a
/// single page is counted the same way by all (`super::single`).
///
/// Answers are exact, or bounds, at the moment of reading; under the locks of all trees that map the folio they stay
/// so. Who reads without a lock sees each counter as it was at some moment, and two counters maybe at different ones:
/// an answer that is made of several (the documentation of each scheme says which) may then be that of no moment.
///
/// One order is kept by all: a removal takes effect on [`Self::entries`] before it does on [`Self::sharing`], or with
/// it. So who holds T of a space that maps the folio, reads the references, then `sharing` and then `entries`, and
/// finds it exclusive with as many entries as references, knows that no other space has an entry or the reference of
/// one.
///
/// An unmapped folio has zeros wherever a scheme keeps something, but for what `rfc-v1` has stranded.
pub trait MapcountScheme {
    /// How it answers, question by question.
    const CONTRACT: Contract;
    /// Whether counts depend on where entries stand.
    const PLACE: Place = Place::Anywhere;

    /// The run was made, or is about to be. Under T.
    fn add(run: &Run);

    /// The run was cleared, or is about to be. Under T; or it stood in a table that has left its tree with all behind
    /// its top entry, or the scheme has [`Place::Anywhere`]: then nobody else comes to what it looks at.
    fn remove(run: &Run) -> Remains;

    /// As [`Self::remove`], by somebody who came to the leaves from the folio and leaves the tables where they are:
    /// truncation, migration.
    fn zap(run: &Run) -> Remains {
        Self::remove(run)
    }

    /// The block, a run of one, is replaced by a table at `table` whose 512 entries map the same pages. Under T.
    fn split(block: &Run, table: PhysAddr) {
        Self::add(&block.pieces(table));
        Self::remove(block);
    }

    /// The opposite: the 512 entries of `pieces` are replaced by the one of `block`. Under T.
    fn join(pieces: &Run, block: &Run) {
        Self::add(block);
        Self::remove(pieces);
    }

    /// Single pages, each mapped by one entry or by none, have become the folio `block.head`, which the one entry of
    /// `block` maps. Its references are frozen. Under T.
    fn fold(block: &Run) {
        block.head.set_raw_mapcount(0);
        Self::add(block);
    }

    /// The last reference to the folio is gone: nothing maps it. Returns how many counts had been left behind by
    /// mappings that are gone; they are forgotten.
    fn free(head: PageRef) -> u32 {
        debug_assert!(!Self::is_mapped(head), "{head:?} is freed while it is mapped");
        0
    }

    /// Whether the run can be added without coming near an overflow.
    ///
    /// # Errors
    /// [`CountFull`]: with it a count would reach [`super::LIMIT`].
    fn may_add(run: &Run) -> Result<(), CountFull>;

    /// The number that the scheme keeps and calls the mapcount of the folio, whatever it counts.
    fn count(head: PageRef) -> u32 {
        head.raw_mapcount()
    }

    /// Whether any entry maps any part. `false` is always right.
    fn is_mapped(head: PageRef) -> bool;
    /// How many leaf entries map any part.
    fn entries(head: PageRef) -> Answer<u32>;
    /// How many leaf entries map this one page, which may be a tail of `head`.
    fn page_entries(head: PageRef, page: PageRef) -> Answer<u32>;
    /// How many pages of the folio are mapped at all.
    fn pages_mapped(head: PageRef) -> Answer<u32>;

    /// Whether one address space alone maps the folio. A wrong `Exclusive` would let a writer into another's memory, so
    /// it is given only as `Exact`.
    fn sharing(head: PageRef) -> Answer<Sharing>;

    /// As [`Self::sharing`], of this one page, which may be a tail of `head`. Where the folio is one space's, so is
    /// each page of it; a page of a folio that is shared may still be one space's.
    fn page_sharing(head: PageRef, _page: PageRef) -> Answer<Sharing> {
        match Self::sharing(head) {
            Answer::Exact(Sharing::Exclusive) => Answer::Exact(Sharing::Exclusive),
            _ => Answer::AtMost(Sharing::Shared),
        }
    }

    /// By how many the size of a page is divided where each mapper is to bear its share (PSS): how often the pages of
    /// the folio are mapped on average, rounded, at least 1 where it is mapped. 0: it is not.
    fn average(head: PageRef) -> u32;
}

/// `total` mappings over `pages` pages, rounded to the nearest number, and at least 1 (Linux:
/// `folio_average_page_mapcount`).
#[must_use]
pub(super) fn rounded(total: u64, pages: u64) -> u32 {
    let average = (total + pages / 2) / pages;
    u32::try_from(average.max(1)).unwrap_or(u32::MAX)
}
