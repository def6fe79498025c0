//! `rfc-v2`: one counter in the head, plus one for each leaf entry of any size.
//!
//! The tails are never written, so the scheme works with read-only tails. What it loses is which page of the
//! folio is mapped: 512 page entries of one process and one entry of each of 512 processes are the same
//! number (the second version of the hugetlb high-granularity mapping series, 2023).
#![forbid(unsafe_code)]

use arch::addr::ENTRIES_PER_TABLE;
use arch::{Order, PhysAddr};

use super::{Answer, MapcountScheme, Run, Sharing};
use crate::page::{Flags, PageRef};

/// The scheme; it has no state of its own.
#[derive(Clone, Copy, Debug)]
pub struct RfcV2;

impl MapcountScheme for RfcV2 {
    fn add(&self, run: &Run) {
        run.head.add_raw_mapcount(run.entries);
    }

    fn remove(&self, run: &Run) -> u32 {
        run.head.sub_raw_mapcount(run.entries) - run.entries
    }

    fn split(&self, block: &Run, _table: PhysAddr) {
        block.head.add_raw_mapcount(ENTRIES_PER_TABLE as u32 - 1);
    }

    /// The pages that become tails lose their counts with everything else.
    fn fold(&self, block: &Run, _order: Order) {
        block.head.set_raw_mapcount(1);
    }

    /// Exact.
    fn is_mapped(&self, head: PageRef) -> bool {
        head.raw_mapcount() != 0
    }

    /// Exact.
    fn entries(&self, head: PageRef) -> Answer<u32> {
        Answer::Exact(head.raw_mapcount())
    }

    /// Exact for a single page and for a folio that is not mapped; else an upper bound.
    fn page_entries(&self, head: PageRef, page: PageRef) -> Answer<u32> {
        let entries = head.raw_mapcount();
        let single = page == head && !head.flags().contains(Flags::HEAD);
        if single || entries == 0 { Answer::Exact(entries) } else { Answer::AtMost(entries) }
    }

    /// Exact for no entry and for one; beyond that unknown, but for a single page: this kernel maps a page
    /// once per address space, so two entries are two spaces.
    fn sharing(&self, head: PageRef) -> Answer<Sharing> {
        match head.raw_mapcount() {
            0 | 1 => Answer::Exact(Sharing::Exclusive),
            _ if !head.flags().contains(Flags::HEAD) => Answer::Exact(Sharing::Shared),
            _ => Answer::Unknown,
        }
    }
}
