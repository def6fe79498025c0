//! `rfc-v2`: one counter in the head, plus one for each leaf entry of any size.
//!
//! The tails are never written, so the scheme works with read-only tails. What it loses is which page of the
//! folio is mapped: 512 page entries of one process and one entry of each of 512 processes are the same
//! number (the second version of the hugetlb high-granularity mapping series, 2023).
//!
//! **Flaw.** A folio that one process maps by two entries or more looks shared: smaps calls the process's own memory
//! shared, and a migration that moves only what is not shared leaves it where it is.
#![forbid(unsafe_code)]

use arch::PhysAddr;
use arch::addr::ENTRIES_PER_TABLE;

use super::scheme::rounded;
use super::single::room;
use super::{Answer, Claim, Contract, CountFull, MapcountScheme, Remains, Run, Sharing};
use crate::page::PageRef;

/// The scheme; it has no state of its own.
#[derive(Clone, Copy, Debug)]
pub struct RfcV2;

impl MapcountScheme for RfcV2 {
    const CONTRACT: Contract =
        [Claim::Exact, Claim::Exact, Claim::Bound, Claim::Bound, Claim::Bound, Claim::Estimate];

    fn add(run: &Run) {
        run.head.add_raw_mapcount(run.entries);
    }

    fn remove(run: &Run) -> Remains {
        remains(run.head, run.head.sub_raw_mapcount(run.entries) - run.entries, run)
    }

    fn split(block: &Run, _table: PhysAddr) {
        block.head.add_raw_mapcount(ENTRIES_PER_TABLE as u32 - 1);
    }

    fn join(_pieces: &Run, block: &Run) {
        block.head.sub_raw_mapcount(ENTRIES_PER_TABLE as u32 - 1);
    }

    fn may_add(run: &Run) -> Result<(), CountFull> {
        room(run.head.raw_mapcount(), run.entries)
    }

    fn is_mapped(head: PageRef) -> bool {
        head.raw_mapcount() != 0
    }

    fn entries(head: PageRef) -> Answer<u32> {
        Answer::Exact(head.raw_mapcount())
    }

    /// Exact for a folio that is not mapped; else an upper bound.
    fn page_entries(head: PageRef, _page: PageRef) -> Answer<u32> {
        match head.raw_mapcount() {
            0 => Answer::Exact(0),
            entries => Answer::AtMost(entries),
        }
    }

    /// No more than all, as one of the entries may be a block.
    fn pages_mapped(head: PageRef) -> Answer<u32> {
        match head.raw_mapcount() {
            0 => Answer::Exact(0),
            _ => Answer::AtMost(head.order().pages() as u32),
        }
    }

    /// Exact for no entry and for one.
    fn sharing(head: PageRef) -> Answer<Sharing> {
        sharing_of(head.raw_mapcount())
    }

    /// A block counts as one of 512 pages.
    fn average(head: PageRef) -> u32 {
        match head.raw_mapcount() {
            0 => 0,
            entries => rounded(entries.into(), head.order().pages()),
        }
    }
}

/// What so many of anything tell of sharing: one cannot be two spaces'.
pub(super) fn sharing_of(count: u32) -> Answer<Sharing> {
    if count <= 1 { Answer::Exact(Sharing::Exclusive) } else { Answer::AtMost(Sharing::Shared) }
}

/// What `left` entries tell after page entries were removed: fewer than there are pages, and no block, is a part. Where
/// a block may be among them, that cannot be told.
fn remains(head: PageRef, left: u32, run: &Run) -> Remains {
    match left {
        0 => Remains::Nothing,
        _ if !run.is_whole() && u64::from(left) < head.order().pages() => Remains::Part,
        _ => Remains::Whole,
    }
}
