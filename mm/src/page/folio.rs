//! Making a folio out of pages, and pages out of a folio.
#![forbid(unsafe_code)]

use arch::Order;

use super::tails::{self, PER_VMEMMAP_PAGE};
use super::{Flags, PageKind, PageRef};
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

    /// As [`Self::prep_compound`], with the count 0, where the vmemmap is optimised from the start: the first `own`
    /// struct pages, 2 or more, are written; all others are a page of tails that is shared.
    pub(crate) fn prep_optimised(self, kind: PageKind, order: Order, own: u64) {
        debug_assert!(order > Order::PAGE && self.pfn().is_aligned(order));
        self.clear();
        self.nth(1).make_tails(own - 1, tails::encode(TailEncoding::Mask, self, order));
        self.set_kind(kind, order);
        self.set_flags(Flags::HEAD | Flags::HVO);
    }

    /// Makes folios of order `into` of a frozen folio of a larger order, each of its kind and frozen, without owner,
    /// index or link. The caller is the sole user, and the vmemmap is not optimised. `into` is 1 or more.
    pub(crate) fn divide(self, into: Order, encoding: TailEncoding) {
        let (kind, pieces) = (self.kind(), self.order().pages() / into.pages());
        debug_assert!(self.refcount() == 0 && into < self.order(), "{self:?}: divided into {into:?}");
        debug_assert!(!self.flags().contains(Flags::HVO), "{self:?}: divided while optimised");
        // The head last: until then the tails of the other pieces lead to a folio or to a piece, both frozen.
        for piece in (0..pieces).rev().map(|n| self.nth(n * into.pages())) {
            if piece != self {
                piece.clear();
            }
            piece.prep_compound(kind, into, encoding);
        }
    }

    /// As [`Self::divide`], of a folio whose vmemmap is optimised, and mapped as that of its pieces already: their tails
    /// are there but for those beside the first head.
    pub(crate) fn divide_optimised(self, into: Order, encoding: TailEncoding) {
        let (kind, pieces) = (self.kind(), self.order().pages() / into.pages());
        debug_assert!(self.refcount() == 0 && into < self.order(), "{self:?}: divided into {into:?}");
        for piece in (1..pieces).rev().map(|n| self.nth(n * into.pages())) {
            piece.clear();
            piece.set_kind(kind, into);
            piece.set_flags(Flags::HEAD | Flags::HVO);
        }
        self.nth(1).make_tails(PER_VMEMMAP_PAGE - 1, tails::encode(encoding, self, into));
        self.set_kind(kind, into);
        self.set_flags(Flags::HEAD | Flags::HVO);
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
