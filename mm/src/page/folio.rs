//! Making a folio out of pages, and pages out of a folio.
#![forbid(unsafe_code)]

use arch::Order;

use super::{Flags, PageKind, PageRef, tails};
use crate::config::TailEncoding;

impl PageRef {
    /// Makes the 2^`order` pages from here one folio of `kind`: this page becomes the head, all others pristine
    /// tails. References stay as they are in the head; the caller is the sole user of all the pages, and their
    /// counts are of no more interest. `order` is 1 or more.
    pub fn prep_compound(self, kind: PageKind, order: Order, encoding: TailEncoding) {
        debug_assert!(order > Order::PAGE && self.pfn().is_aligned(order));
        let info = tails::encode(encoding, self, order);
        self.nth(1).make_tails(order.pages() - 1, info);
        self.set_kind(kind, order);
        self.set_flags(Flags::HEAD);
    }

    /// Takes a folio apart: its pages become single pages of `kind`, with one reference each. The caller is the
    /// sole user of the folio, and its vmemmap is not optimised.
    pub fn dissolve(self, kind: PageKind) {
        let order = self.order();
        debug_assert!(!self.flags().contains(Flags::HVO), "{self:?}: dissolved while optimised");
        // The head last: where it is frozen, nobody gets a reference by any of them before.
        for i in (0..order.pages()).rev() {
            let page = self.nth(i);
            page.clear();
            page.set_kind(kind, Order::PAGE);
            page.set_refcount(1);
        }
    }
}
