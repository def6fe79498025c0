//! `rfc-v2+vmacount`: the count of entries of `rfc-v2`, and beside it one of top entries, as in `rfc-v1+counted`.
//!
//! Floated in the discussion of 2023 and turned down as yet another definition: the first for what counts entries
//! (`folio_referenced`, the references that mappings hold), the second for what asks who maps (smaps, migration,
//! copy-on-write). Each answers what the other cannot; the price is a second counter, and the mark.
//!
//! Two counters: who reads them without a lock may see one of before and one of after. Who removes entries takes them
//! off the first counter and then off the second: so whoever reads first that one top entry is left, and then the
//! entries, has none that are gone among them ([`crate::space`] asks so whether a folio is one space's alone).
#![forbid(unsafe_code)]

use arch::PhysAddr;

use super::rfc_v2::{RfcV2, sharing_of};
use super::top::{self, Shift, Tops};
use super::{Answer, Claim, Contract, CountFull, MapcountScheme, Place, Remains, Run, Sharing};
use crate::page::PageRef;

/// The scheme; it has no state of its own.
#[derive(Clone, Copy, Debug)]
pub struct Vmacount;

impl MapcountScheme for Vmacount {
    const PLACE: Place = Place::Counts;
    const CONTRACT: Contract =
        [Claim::Exact, Claim::Exact, Claim::Bound, Claim::Bound, Claim::Bound, Claim::Estimate];

    fn add(run: &Run) {
        if top::made(run) == Tops::Changed {
            run.head.first_tail().add_sum(1);
        }
        RfcV2::add(run);
    }

    fn remove(run: &Run) -> Remains {
        let tops = top::gone(run);
        let remains = RfcV2::remove(run);
        if tops == Tops::Changed {
            run.head.first_tail().sub_sum(1);
        }
        remains
    }

    fn split(block: &Run, table: PhysAddr) {
        count(block.head, top::split(block, table));
        RfcV2::split(block, table);
    }

    fn join(pieces: &Run, block: &Run) {
        let shift = top::join(pieces, block);
        RfcV2::join(pieces, block);
        count(block.head, shift);
    }

    fn may_add(run: &Run) -> Result<(), CountFull> {
        RfcV2::may_add(run)
    }

    fn is_mapped(head: PageRef) -> bool {
        RfcV2::is_mapped(head)
    }

    fn entries(head: PageRef) -> Answer<u32> {
        RfcV2::entries(head)
    }

    /// No more than there are entries, nor than there are top entries.
    fn page_entries(head: PageRef, _page: PageRef) -> Answer<u32> {
        match head.raw_mapcount() {
            0 => Answer::Exact(0),
            entries => Answer::AtMost(entries.min(head.first_tail().sum())),
        }
    }

    fn pages_mapped(head: PageRef) -> Answer<u32> {
        RfcV2::pages_mapped(head)
    }

    /// Exact for no top entry and for one.
    fn sharing(head: PageRef) -> Answer<Sharing> {
        sharing_of(head.first_tail().sum())
    }

    /// As if each top entry mapped all of the folio.
    fn average(head: PageRef) -> u32 {
        head.first_tail().sum()
    }
}

/// What came of a split or a join.
fn count(head: PageRef, shift: Shift) {
    match shift {
        Shift::None => {}
        Shift::Up => drop(head.first_tail().add_sum(1)),
        Shift::Down => drop(head.first_tail().sub_sum(1)),
    }
}
