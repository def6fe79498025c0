//! The free lists of a zone, one an order and type of pageblock; merging and splitting. And at most one range that is
//! *isolated*: what is free there, or becomes free, stands on no free list, so it is given to nobody, until the range
//! is complete or given up (Linux: `MIGRATE_ISOLATE`).
#![forbid(unsafe_code)]

use arch::{Order, Pfn};

use super::migratetype::{MigrateType, PAGEBLOCK, Pageblocks, TYPES};
use super::{MAX_ORDER, ORDERS};
use crate::boot::Frames;
use crate::page::{PageKind, PageList, PageRef, page_of};

/// Free blocks by order, and by the type of their pageblock. Stands inside the zone's lock.
#[derive(Debug)]
pub(super) struct FreeArea {
    lists: [[PageList; ORDERS]; TYPES],
    pageblocks: Pageblocks,
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
    pub(super) const fn new(pageblocks: Pageblocks) -> Self {
        FreeArea { lists: [const { [const { PageList::new() }; ORDERS] }; TYPES], pageblocks, isolated: None }
    }

    /// The free blocks of one order in pageblocks of one type.
    pub(super) fn list(&self, order: Order, of: MigrateType) -> &PageList {
        &self.lists[of as usize][usize::from(order.raw())]
    }

    /// How many free blocks of an order there are.
    pub(super) fn blocks(&self, order: Order) -> u64 {
        MigrateType::ALL.iter().map(|&of| self.list(order, of).len()).sum()
    }

    /// Frames that are about to be inserted for the first time. A pageblock that they fill only in part has something
    /// of boot's in it: it is unmovable.
    pub(super) fn begin(&mut self, frames: Frames) {
        let ends = [frames.start, Pfn::new(frames.end.raw() - 1)];
        for at in ends.into_iter().filter(|_| !frames.is_empty()) {
            let all = Frames::new(at.align_down(PAGEBLOCK), PAGEBLOCK.pages());
            if frames.meet(all) != all {
                self.pageblocks.set(at, MigrateType::Unmovable);
            }
        }
    }
    /// As [`Pageblocks::set`], and nothing else.
    #[cfg(test)]
    pub(super) fn retype(&mut self, pfn: Pfn, to: MigrateType) {
        self.pageblocks.set(pfn, to);
    }
    /// The types of the pageblocks.
    pub(super) fn pageblocks(&self) -> &Pageblocks {
        &self.pageblocks
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
        self.each_pageblock(first, order, MigrateType::Movable);
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

    /// Takes out the highest single page below `below`, and not below `above`, of a block of less than `order` in a
    /// movable pageblock. The range lies in one pageblock.
    pub(super) fn take_high(&mut self, above: Pfn, below: Pfn, order: Order) -> Option<PageRef> {
        if self.pageblocks.of(above) == MigrateType::Unmovable {
            return None;
        }
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

    /// Takes out a block of `order`: the first of the lowest order that has one in a pageblock of the type, else one
    /// of the other type. What is more than `order` goes back, in halves.
    pub(super) fn take(&mut self, order: Order, of: MigrateType) -> Option<PageRef> {
        let mut orders = (order.raw()..=MAX_ORDER.raw()).map(Order::new);
        let (found, from) = match orders.find(|&o| !self.list(o, of).is_empty()) {
            Some(found) => (found, of),
            None => self.fall_back(order, of)?,
        };
        let page = self.list(found, from).first()?;
        self.unlink(page, found);
        let whole = order.max(PAGEBLOCK).raw();
        for half in (whole..found.raw()).rev().map(Order::new) {
            self.link(page.nth(half.pages()), half);
        }
        if found >= PAGEBLOCK {
            self.each_pageblock(page.pfn(), order, of);
        } else if from != of && of == MigrateType::Unmovable {
            self.claim(page.pfn(), found);
        }
        for half in (order.raw()..found.raw().min(whole)).rev().map(Order::new) {
            self.link(page.nth(half.pages()), half);
        }
        Some(page)
    }

    /// The order, and the type, of the block that a request takes when its own type has none: of unmovable memory a
    /// free pageblock, else the largest piece; of movable memory the smallest piece.
    fn fall_back(&self, order: Order, of: MigrateType) -> Option<(Order, MigrateType)> {
        let has = |&o: &Order, from| !self.list(o, from).is_empty();
        let orders = |from: u8, to: u8| (from..=to).map(Order::new);
        let (least, pageblock) = (order.raw(), PAGEBLOCK.raw());
        match of {
            MigrateType::Movable => {
                let from = MigrateType::Unmovable;
                orders(least, MAX_ORDER.raw()).find(|o| has(o, from)).map(|found| (found, from))
            }
            MigrateType::Unmovable => {
                let from = MigrateType::Movable;
                let mut whole = orders(least.max(pageblock), MAX_ORDER.raw());
                let mut pieces = orders(least, pageblock - 1).rev();
                whole
                    .find(|o| has(o, from))
                    .or_else(|| pieces.find(|o| has(o, from)))
                    .map(|found| (found, from))
            }
        }
    }

    /// The pageblock of a block that was just taken out becomes unmovable, if half of it is free.
    fn claim(&mut self, taken: Pfn, order: Order) {
        let pageblock = self.pageblocks.around(taken);
        let free_block = |pfn: Pfn| Some(page_of(pfn)).filter(|page| page.kind() == PageKind::Buddy);
        let mut free = order.pages();
        let mut pfn = pageblock.start;
        while pfn < pageblock.end {
            let block = free_block(pfn).map_or(0, |page| page.order().pages());
            free += block;
            pfn = pfn.add(block.max(1));
        }
        if free < PAGEBLOCK.pages() / 2 {
            return;
        }
        let mut pfn = pageblock.start;
        while pfn < pageblock.end {
            let block = free_block(pfn).map(|page| (page, page.order()));
            if let Some((page, order)) = block {
                self.unlink(page, order);
                self.lists[MigrateType::Unmovable as usize][usize::from(order.raw())].push(page);
                page.set_kind(PageKind::Buddy, order);
            }
            pfn = pfn.add(block.map_or(1, |(_, order)| order.pages()));
        }
        self.pageblocks.set(taken, MigrateType::Unmovable);
    }

    /// Sets the type of each pageblock that a block covers. A part of one makes none movable.
    fn each_pageblock(&mut self, first: Pfn, order: Order, of: MigrateType) {
        let covered = order.pages().div_ceil(PAGEBLOCK.pages());
        if order >= PAGEBLOCK || of == MigrateType::Unmovable {
            (0..covered).for_each(|n| self.pageblocks.set(first.add(n * PAGEBLOCK.pages()), of));
        }
    }

    fn link(&mut self, page: PageRef, order: Order) {
        page.set_kind(PageKind::Buddy, order);
        let of = self.pageblocks.of(page.pfn());
        self.lists[of as usize][usize::from(order.raw())].push(page);
    }

    fn unlink(&mut self, page: PageRef, order: Order) {
        let of = self.pageblocks.of(page.pfn());
        self.lists[of as usize][usize::from(order.raw())].remove(page);
        page.set_kind(PageKind::Free, Order::PAGE);
    }
}
