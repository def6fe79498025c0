//! The free lists of a zone, one an order; merging and splitting. And at most one range that is *isolated*: what is free
//! there, or becomes free, stands on no free list, so it is given to nobody, until the range is complete or given up
//! (Linux: `MIGRATE_ISOLATE`).
#![forbid(unsafe_code)]

use arch::{Order, Pfn};

use super::{MAX_ORDER, ORDERS};
use crate::boot::Frames;
use crate::page::{PageKind, PageList, PageRef, page_of};

/// Free blocks by order. Stands inside the zone's lock.
#[derive(Debug)]
pub(super) struct FreeArea {
    lists: [PageList; ORDERS],
    isolated: Option<Isolated>,
}

/// A range that is isolated, and the free blocks there: kind `Free`, with their order.
#[derive(Debug)]
struct Isolated {
    range: Frames,
    captured: PageList,
    /// Pages of all blocks.
    pages: u64,
}

impl FreeArea {
    /// Nothing free.
    pub(super) const fn new() -> Self {
        FreeArea { lists: [const { PageList::new() }; ORDERS], isolated: None }
    }

    /// The free blocks of one order.
    pub(super) fn list(&self, order: Order) -> &PageList {
        &self.lists[usize::from(order.raw())]
    }

    /// Gives back the block of `order` that begins at `page`, all of whose struct pages have kind `Free`, and
    /// merges it with its buddy for as long as that is free too. Returns how many of its pages are isolated: they are
    /// not on a free list.
    pub(super) fn insert(&mut self, page: PageRef, order: Order) -> u64 {
        if let Some(isolated) = &mut self.isolated {
            let (block, pages) = (Frames::new(page.pfn(), order.pages()), order.pages());
            match isolated.range.meet(block).len() {
                0 => {}
                inside if inside == pages => {
                    page.set_kind(PageKind::Free, order);
                    isolated.captured.push(page);
                    isolated.pages += pages;
                    return pages;
                }
                _ => {
                    let half = Order::new(order.raw() - 1);
                    return self.insert(page, half) + self.insert(page.nth(half.pages()), half);
                }
            }
        }
        let (mut first, mut order) = (page.pfn(), order);
        while order < MAX_ORDER {
            let buddy = page_of(Pfn::new(first.raw() ^ order.pages()));
            if !buddy.is_block(PageKind::Buddy, order) {
                break;
            }
            self.unlink(buddy, order);
            order = Order::new(order.raw() + 1);
            first = first.align_down(order);
        }
        self.link(page_of(first), order);
        0
    }

    /// As [`Self::insert`] for `n` pages side by side, the lowest of which is `first`.
    #[inline]
    pub(super) fn insert_row(&mut self, first: PageRef, n: u64) -> u64 {
        if n == 1 {
            return self.insert(first, Order::PAGE);
        }
        let blocks = Frames::new(first.pfn(), n).blocks(Order::PMD);
        blocks.map(|(pfn, order)| self.insert(page_of(pfn), order)).sum()
    }

    /// Isolates a naturally aligned range. Returns how many pages were free there and are isolated now. `None`: another
    /// range is isolated.
    pub(super) fn isolate(&mut self, range: Frames) -> Option<u64> {
        if self.isolated.is_some() {
            return None;
        }
        self.isolated = Some(Isolated { range, captured: PageList::new(), pages: 0 });
        let mut pages = 0;
        let mut at = range.start;
        while at < range.end {
            let block = self.block_around(at);
            if let Some((page, order)) = block {
                self.unlink(page, order);
                pages += self.insert(page, order);
            }
            at = at.add(block.map_or(1, |(page, order)| page.pfn().add(order.pages()).offset_from(at)));
        }
        Some(pages)
    }

    /// The free block that the frame lies in.
    fn block_around(&self, pfn: Pfn) -> Option<(PageRef, Order)> {
        let mut orders = (0..=MAX_ORDER.raw()).map(Order::new);
        orders.find_map(|order| {
            let page = page_of(pfn.align_down(order));
            let free = page.kind() == PageKind::Buddy && page.pfn().add(page.order().pages()) > pfn;
            free.then(|| (page, page.order()))
        })
    }

    /// Pages of the isolated range that are free.
    pub(super) fn isolated_pages(&self) -> u64 {
        self.isolated.as_ref().map_or(0, |isolated| isolated.pages)
    }

    /// Ends the isolation. All pages of the range are free: they are the caller's.
    pub(super) fn take_isolated(&mut self) -> Option<PageRef> {
        let Isolated { range, mut captured, pages } = self.isolated.take()?;
        debug_assert_eq!(pages, range.len(), "an isolated range is not complete");
        while let Some(page) = captured.pop() {
            page.set_kind(PageKind::Free, Order::PAGE);
        }
        Some(page_of(range.start))
    }

    /// Ends the isolation. What is free goes on the lists; returns how many pages that is.
    pub(super) fn give_up_isolated(&mut self) -> u64 {
        let Some(Isolated { mut captured, pages, .. }) = self.isolated.take() else { return 0 };
        while let Some(page) = captured.pop() {
            let order = page.order();
            page.set_kind(PageKind::Free, Order::PAGE);
            self.insert(page, order);
        }
        pages
    }

    /// Takes out the highest single page below `below`, and not below `above`, of a block of less than `order`.
    pub(super) fn take_high(&mut self, above: Pfn, below: Pfn, order: Order) -> Option<PageRef> {
        let free = |n: u64| {
            let page = page_of(Pfn::new(n));
            page.kind() == PageKind::Buddy && page.order() < order
        };
        let found = (above.raw()..below.raw()).rev().find(|&n| free(n))?;
        let (mut page, mut order) = (page_of(Pfn::new(found)), page_of(Pfn::new(found)).order());
        self.unlink(page, order);
        while order > Order::PAGE {
            order = Order::new(order.raw() - 1);
            self.link(page, order);
            page = page.nth(order.pages());
        }
        Some(page)
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
