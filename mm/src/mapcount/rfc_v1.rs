//! `rfc-v1` and `rfc-v1+counted`: one counter in the head, plus one for each top entry (`super::top`).
//!
//! The first version of hugetlb high-granularity mapping (2022). A folio that one process maps counts one, by whatever
//! entries, so smaps and migration see at once whether it is shared; no tail is written; and collapsing page entries
//! into a block changes no count. How many entries there are is not known.
//!
//! **Flaws of `rfc-v1`, kept as they are.**
//! - Each leaf entry holds a reference, and each top entry a count: the two cannot be compared, so nobody can tell
//!   whether a reference is more than the mappings' own, and the reference count overflows no later than with `rfc-v2`.
//! - Truncation and migration clear leaves and leave the tables, and of smaller leaves than the folio it is with the
//!   table that the count goes: the count is *stranded*. The folio looks mapped when it is not, until it is freed
//!   ([`crate::stats::Counter::MapcountStranded`]).
//! - A walk that stops when it has found as many entries as the count says (`folio_referenced`) stops after one of 512.
//! - Partial unmaps leave the count as it is until the last page behind the top entry goes.
//!
//! **`rfc-v1+counted`** is the repair that was proposed: a mark, kept with the table, says that it is counted, so
//! who zaps leaves can take the count back with the last of them. Both variants need the mark to know the first leaf
//! from the second; only this one lets a zap use it.
#![forbid(unsafe_code)]

use arch::PhysAddr;

use super::rfc_v2::sharing_of;
use super::single::room;
use super::top::{self, Shift, Tops};
use super::{Answer, Claim, Contract, CountFull, MapcountScheme, Place, Remains, Run, Sharing};
use crate::page::PageRef;

/// The scheme as it was posted; it has no state of its own.
#[derive(Clone, Copy, Debug)]
pub struct RfcV1;

/// The scheme with the proposed repair.
#[derive(Clone, Copy, Debug)]
pub struct RfcV1Counted;

impl MapcountScheme for RfcV1 {
    const PLACE: Place = Place::Counts;
    const CONTRACT: Contract =
        [Claim::Bound, Claim::Bound, Claim::Bound, Claim::Bound, Claim::Bound, Claim::Estimate];

    fn add(run: &Run) {
        RfcV1Counted::add(run);
    }
    fn remove(run: &Run) -> Remains {
        RfcV1Counted::remove(run)
    }
    /// The leaves go, the count stays, unless they are the top entries themselves.
    fn zap(run: &Run) -> Remains {
        if run.is_whole() {
            return Self::remove(run);
        }
        let _stranded = top::gone(run);
        remains(run.head.raw_mapcount())
    }
    fn split(block: &Run, table: PhysAddr) {
        RfcV1Counted::split(block, table);
    }
    fn join(pieces: &Run, block: &Run) {
        RfcV1Counted::join(pieces, block);
    }
    /// What was stranded is forgotten.
    fn free(head: PageRef) -> u32 {
        let stranded = head.raw_mapcount();
        head.set_raw_mapcount(0);
        stranded
    }
    fn may_add(run: &Run) -> Result<(), CountFull> {
        RfcV1Counted::may_add(run)
    }
    /// A stranded count looks like a mapping.
    fn is_mapped(head: PageRef) -> bool {
        RfcV1Counted::is_mapped(head)
    }
    fn entries(head: PageRef) -> Answer<u32> {
        RfcV1Counted::entries(head)
    }
    fn page_entries(head: PageRef, page: PageRef) -> Answer<u32> {
        RfcV1Counted::page_entries(head, page)
    }
    fn pages_mapped(head: PageRef) -> Answer<u32> {
        RfcV1Counted::pages_mapped(head)
    }
    fn sharing(head: PageRef) -> Answer<Sharing> {
        RfcV1Counted::sharing(head)
    }
    fn average(head: PageRef) -> u32 {
        RfcV1Counted::average(head)
    }
}

impl MapcountScheme for RfcV1Counted {
    const PLACE: Place = Place::Counts;
    const CONTRACT: Contract =
        [Claim::Exact, Claim::Bound, Claim::Bound, Claim::Bound, Claim::Bound, Claim::Estimate];

    fn add(run: &Run) {
        if top::made(run) == Tops::Changed {
            run.head.add_raw_mapcount(1);
        }
    }

    fn remove(run: &Run) -> Remains {
        match top::gone(run) {
            Tops::Changed => remains(run.head.sub_raw_mapcount(1) - 1),
            Tops::Same => Remains::Part,
        }
    }

    fn split(block: &Run, table: PhysAddr) {
        count(block.head, top::split(block, table));
    }

    fn join(pieces: &Run, block: &Run) {
        count(block.head, top::join(pieces, block));
    }

    fn may_add(run: &Run) -> Result<(), CountFull> {
        room(run.head.raw_mapcount(), 1)
    }

    fn is_mapped(head: PageRef) -> bool {
        head.raw_mapcount() != 0
    }

    /// No more than all pages behind each top entry.
    fn entries(head: PageRef) -> Answer<u32> {
        match head.raw_mapcount() {
            0 => Answer::Exact(0),
            tops => {
                let most = u64::from(tops).saturating_mul(head.order().pages());
                Answer::AtMost(u32::try_from(most).unwrap_or(u32::MAX))
            }
        }
    }

    /// Behind each top entry a page is mapped once or not at all.
    fn page_entries(head: PageRef, _page: PageRef) -> Answer<u32> {
        match head.raw_mapcount() {
            0 => Answer::Exact(0),
            tops => Answer::AtMost(tops),
        }
    }

    fn pages_mapped(head: PageRef) -> Answer<u32> {
        match head.raw_mapcount() {
            0 => Answer::Exact(0),
            _ => Answer::AtMost(head.order().pages() as u32),
        }
    }

    /// Exact for no top entry and for one.
    fn sharing(head: PageRef) -> Answer<Sharing> {
        sharing_of(head.raw_mapcount())
    }

    /// As if each top entry mapped all of the folio.
    fn average(head: PageRef) -> u32 {
        head.raw_mapcount()
    }
}

/// What came of a split or a join.
fn count(head: PageRef, shift: Shift) {
    match shift {
        Shift::None => {}
        Shift::Up => drop(head.add_raw_mapcount(1)),
        Shift::Down => drop(head.sub_raw_mapcount(1)),
    }
}

/// What a count tells of how much is mapped.
pub(super) fn remains(count: u32) -> Remains {
    if count == 0 { Remains::Nothing } else { Remains::Whole }
}
