//! Memory that has failed never comes back: what is left of a folio of which a part has does.
//!
//! ```text
//!   folio   | 0 .......... 304 | 305 FAILED | 306 ........................ 511 |
//!             third: free, with   second: kind    first: free
//!             the head            Failed, 1
//!                                 reference
//! ```
//! From the end to the head: until the head is free its tails lead to a folio without references.
#![forbid(unsafe_code)]

use arch::addr::PAGE_SIZE;
use arch::{Machine, Order, PhysMem};

use super::MigrateType;
use crate::Mm;
use crate::page::{Flags, FolioRef, PageKind, PageRef};
use crate::trace::Point;

impl Mm {
    /// Gives back all pages of a frozen folio that no entry maps and whose vmemmap is not optimised, but for those that
    /// `last_failed` names by their numbers in it, descending; these are nobody's from now on.
    pub(crate) fn free_around(&self, folio: FolioRef, mut last_failed: impl FnMut() -> Option<u64>) {
        let (mut end, head) = (folio.order().pages(), folio.into_raw());
        debug_assert!(head.refcount() == 0, "{head:?} is taken apart in use");
        while end != 0 {
            let failed = last_failed();
            self.free_row(head, failed.map_or(0, |n| n + 1), end);
            if let Some(n) = failed {
                let page = head.nth(n);
                page.clear();
                page.set_kind(PageKind::Failed, Order::PAGE);
                page.set_refcount(1);
            }
            end = failed.unwrap_or(0);
        }
    }

    /// A frozen folio that no entry maps and whose vmemmap is not optimised is nobody's from now on, all of it.
    pub(crate) fn retire_folio(&self, folio: FolioRef) {
        let (order, head) = (folio.order(), folio.into_raw());
        head.set_kind(PageKind::Failed, order);
        head.set_flags(Flags::HEAD);
        head.set_refcount(1);
    }

    /// Gives pages `start..end` of a folio that is taken apart to the zone.
    fn free_row(&self, head: PageRef, start: u64, end: u64) {
        if start == end {
            return;
        }
        let (first, n) = (head.nth(start), end - start);
        first.make_free(n);
        Machine::released(first.pfn().phys(), n * PAGE_SIZE);
        self.stats.note(Point::Free, n, || [first.pfn().raw(), 0, 0, 0]);
        self.zone.free_run(first, n, MigrateType::Movable);
    }
}
