//! The free lists of a zone, one an order; merging and splitting.
#![forbid(unsafe_code)]

use arch::{Order, Pfn};

use super::{MAX_ORDER, ORDERS};
use crate::page::{PageKind, PageList, PageRef, page_of};

/// Free blocks by order. Stands inside the zone's lock.
#[derive(Debug)]
pub(super) struct FreeArea {
    lists: [PageList; ORDERS],
}

impl FreeArea {
    /// Nothing free.
    pub(super) const fn new() -> Self {
        FreeArea { lists: [const { PageList::new() }; ORDERS] }
    }

    /// The free blocks of one order.
    pub(super) fn list(&self, order: Order) -> &PageList {
        &self.lists[usize::from(order.raw())]
    }

    /// Gives back the block of `order` that begins at `page`, all of whose struct pages have kind `Free`, and
    /// merges it with its buddy for as long as that is free too.
    pub(super) fn insert(&mut self, page: PageRef, order: Order) {
        let (mut first, mut order) = (page.pfn(), order);
        while order < MAX_ORDER {
            let buddy = page_of(Pfn::new(first.raw() ^ order.pages()));
            if buddy.kind() != PageKind::Buddy || buddy.order() != order {
                break;
            }
            self.unlink(buddy, order);
            order = Order::new(order.raw() + 1);
            first = first.align_down(order);
        }
        self.link(page_of(first), order);
    }

    /// Takes out a block of `order`: the first of the lowest order that has one. What is more than `order`
    /// goes back, in halves.
    pub(super) fn take(&mut self, order: Order) -> Option<PageRef> {
        let found = (order.raw()..=MAX_ORDER.raw()).map(Order::new).find(|&o| !self.list(o).is_empty())?;
        let page = self.list(found).first()?;
        self.unlink(page, found);
        for half in (order.raw()..found.raw()).rev().map(Order::new) {
            self.link(page.nth(half.pages()), half);
        }
        Some(page)
    }

    fn link(&mut self, page: PageRef, order: Order) {
        page.set_kind(PageKind::Buddy, order);
        self.lists[usize::from(order.raw())].push(page);
    }

    fn unlink(&mut self, page: PageRef, order: Order) {
        self.lists[usize::from(order.raw())].remove(page);
        page.set_kind(PageKind::Free, Order::PAGE);
    }
}
