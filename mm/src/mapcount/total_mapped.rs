//! `total-mapped`: how many entries there are, and how many pages they map in sum.
//!
//! ```text
//!   entry of       adds to entries    adds to total
//!   4 KiB                 1                  1
//!   2 MiB                 1                512
//!   1 GiB                 1            262,144
//! ```
//! Total divided by the folio's pages says how often a page is mapped on average. Entries of any sizes may be mixed,
//! and no tail but the first is written (the series of April 2026 that removes the counts of pages).
//!
//! **Flaw.** Where several spaces map different parts, total is as high as if one mapped all: that the folio is mapped in
//! part is missed, and it is not queued to be split.
//!
//! Two counters, two atomic operations a run: who reads them without a lock may see one of before and one of after.
#![forbid(unsafe_code)]

use arch::PhysAddr;
use arch::addr::ENTRIES_PER_TABLE;

use super::rfc_v2::sharing_of;
use super::scheme::rounded;
use super::single::room;
use super::{Answer, Claim, Contract, CountFull, MapcountScheme, Remains, Run, Sharing};
use crate::page::PageRef;

/// The scheme; it has no state of its own.
#[derive(Clone, Copy, Debug)]
pub struct TotalMapped;

impl MapcountScheme for TotalMapped {
    const CONTRACT: Contract =
        [Claim::Exact, Claim::Exact, Claim::Bound, Claim::Bound, Claim::Bound, Claim::Estimate];

    fn add(run: &Run) {
        run.head.add_raw_mapcount(run.entries);
        run.head.first_tail().add_sum(run.pages() as u32);
    }

    fn remove(run: &Run) -> Remains {
        let pages = run.pages() as u32;
        let total = run.head.first_tail().sub_sum(pages).wrapping_sub(pages);
        match run.head.sub_raw_mapcount(run.entries) - run.entries {
            0 => Remains::Nothing,
            _ if u64::from(total) < run.head.order().pages() => Remains::Part,
            _ => Remains::Whole,
        }
    }

    fn split(block: &Run, _table: PhysAddr) {
        block.head.add_raw_mapcount(ENTRIES_PER_TABLE as u32 - 1);
    }

    fn join(_pieces: &Run, block: &Run) {
        block.head.sub_raw_mapcount(ENTRIES_PER_TABLE as u32 - 1);
    }

    fn fold(block: &Run) {
        block.head.set_raw_mapcount(block.entries);
        block.head.first_tail().set_sum(block.pages() as u32);
    }

    /// The total is the higher of the two: 8192 blocks of 1 GiB reach 2^31.
    fn may_add(run: &Run) -> Result<(), CountFull> {
        let pages = u32::try_from(run.pages()).map_err(|_| CountFull)?;
        room(run.head.first_tail().sum(), pages)
    }

    fn is_mapped(head: PageRef) -> bool {
        head.raw_mapcount() != 0
    }

    fn entries(head: PageRef) -> Answer<u32> {
        Answer::Exact(head.raw_mapcount())
    }

    /// No more than there are entries.
    fn page_entries(head: PageRef, _page: PageRef) -> Answer<u32> {
        let (entries, total) = (head.raw_mapcount(), head.first_tail().sum());
        let all = u64::from(entries) * head.order().pages() == u64::from(total);
        if all { Answer::Exact(entries) } else { Answer::AtMost(entries) }
    }

    /// No more than the total, or all.
    fn pages_mapped(head: PageRef) -> Answer<u32> {
        let (entries, total, pages) =
            (head.raw_mapcount(), head.first_tail().sum(), head.order().pages() as u32);
        match entries {
            0 => Answer::Exact(0),
            _ if u64::from(entries) * u64::from(pages) == u64::from(total) => Answer::Exact(pages),
            _ => Answer::AtMost(total.min(pages)),
        }
    }

    /// Exact for no entry and for one.
    fn sharing(head: PageRef) -> Answer<Sharing> {
        sharing_of(head.raw_mapcount())
    }

    fn average(head: PageRef) -> u32 {
        match head.first_tail().sum() {
            0 => 0,
            total => rounded(total.into(), head.order().pages()),
        }
    }
}
