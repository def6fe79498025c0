//! A zone: admission by the marks, free lists, a list of single pages per CPU.
#![forbid(unsafe_code)]

use core::sync::atomic::{AtomicU64, Ordering};

use arch::contract::MAX_CPUS;
use arch::sync::SpinLock;
use arch::{Cpu, Machine, Order, Pfn};

use super::area::FreeArea;
use super::migratetype::{MigrateType, Pageblocks, TYPES};
use super::watermark::{Reserve, Watermarks};
use super::{MAX_ORDER, ORDERS};
use crate::boot::Frames;
use crate::error::OutOfMemory;
use crate::locks;
use crate::page::{PageKind, PageList, PageRef, page_of};

/// Pages that move at once between a CPU's list and the free lists.
pub(super) const BATCH: u64 = 32;
/// From so many pages in a row on, they are freed without a CPU's list.
const DIRECT: u64 = 8;
/// Most pages on a CPU's list.
pub(super) const CACHED: u64 = 3 * BATCH;

/// A range of memory with free lists of its own.
pub struct Zone {
    name: &'static str,
    managed: u64,
    marks: Watermarks,
    /// Free pages, less those that were admitted and are being looked for. Atomic; no lock.
    free: AtomicU64,
    /// Z.
    area: SpinLock<FreeArea>,
    /// The range that is isolated, as pfns: what is freed there goes on no CPU's list. A hint; who reads it as it was
    /// before caches a page that is found there later. Written under Z.
    isolated: [AtomicU64; 2],
    /// Single pages, one list a CPU and type of request. P.
    cpus: [[SpinLock<PageList>; TYPES]; MAX_CPUS],
}

impl Zone {
    /// A zone of `managed` pages of this RAM, none free yet.
    ///
    /// # Errors
    /// [`OutOfMemory`].
    pub fn new(name: &'static str, managed: u64, ram: &[Frames]) -> Result<Self, OutOfMemory> {
        let area = FreeArea::new(Pageblocks::new(ram)?);
        Ok(Zone {
            name,
            managed,
            marks: Watermarks::new(managed),
            free: AtomicU64::new(0),
            area: SpinLock::new(locks::ZONE, area),
            isolated: [const { AtomicU64::new(0) }; 2],
            cpus: [const { [const { SpinLock::new(locks::PER_CPU, PageList::new()) }; TYPES] }; MAX_CPUS],
        })
    }

    /// Gives frames to the zone for the first time. Their struct pages have kind `Free`. Beside a part of a pageblock
    /// stands what boot has put there, which stays.
    pub(crate) fn add(&self, frames: Frames) {
        let mut area = self.area.lock();
        area.begin(frames);
        for (pfn, order) in frames.blocks(MAX_ORDER) {
            area.insert(page_of(pfn), order);
        }
        self.free.fetch_add(frames.len(), Ordering::Relaxed);
    }

    /// The name, as in `/proc/buddyinfo`.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.name
    }
    /// Pages that the zone has, free or given out (4 KiB units).
    #[must_use]
    pub fn managed(&self) -> u64 {
        self.managed
    }
    /// The marks.
    #[must_use]
    pub fn watermarks(&self) -> Watermarks {
        self.marks
    }
    /// Free pages, on the free lists and on the lists of CPUs (4 KiB units).
    #[must_use]
    pub fn free_pages(&self) -> u64 {
        self.free.load(Ordering::Relaxed)
    }
    /// Free pages on the lists of CPUs (4 KiB units).
    #[must_use]
    pub fn cached_pages(&self) -> u64 {
        self.cpus.iter().flatten().map(|list| list.lock().len()).sum()
    }
    /// Free blocks of each order; pages on the lists of CPUs are not among them.
    #[must_use]
    pub fn free_blocks(&self) -> [u64; ORDERS] {
        let area = self.area.lock();
        core::array::from_fn(|n| area.blocks(Order::new(n as u8)))
    }
    /// How many pageblocks of 2 MiB are unmovable at this moment.
    #[must_use]
    pub fn unmovable_pageblocks(&self) -> u64 {
        self.area.lock().pageblocks().unmovable()
    }

    /// A block of `order`, whose first struct page has kind `Free` and is otherwise zero.
    pub(super) fn alloc(
        &self,
        order: Order,
        reserve: Reserve,
        of: MigrateType,
    ) -> Result<PageRef, OutOfMemory> {
        if order > MAX_ORDER {
            return Err(OutOfMemory);
        }
        self.admit(order, reserve)?;
        let found = self.take(order, of).or_else(|| {
            self.drain();
            self.take(order, of)
        });
        found.ok_or_else(|| {
            self.free.fetch_add(order.pages(), Ordering::Relaxed);
            OutOfMemory
        })
    }

    /// Takes a block back that was asked for as one of this type. All its struct pages have kind `Free` and are
    /// otherwise zero.
    pub(super) fn free(&self, page: PageRef, order: Order, of: MigrateType) {
        if order == Order::PAGE && !self.is_isolated(page) {
            self.cache(page, of);
            self.free.fetch_add(1, Ordering::Relaxed);
        } else {
            self.insert(page, order);
        }
    }

    /// As [`Self::free`] for `n` pages in a row, from the first on. Many go back as blocks at once, and not
    /// through this CPU's list.
    pub(super) fn free_run(&self, first: PageRef, n: u64, of: MigrateType) {
        if n < DIRECT {
            return (0..n).for_each(|k| self.free(first.nth(k), Order::PAGE, of));
        }
        let isolated = self.area.lock().insert_row(first, n);
        self.free.fetch_add(n - isolated, Ordering::Relaxed);
    }

    /// As [`Self::free`] for movable single pages in any order. Many go back at once, those that lie side by side as
    /// blocks, and not through this CPU's list.
    pub(super) fn free_many(&self, pages: &[PageRef]) {
        if (pages.len() as u64) < DIRECT {
            return pages.iter().for_each(|&page| self.free(page, Order::PAGE, MigrateType::Movable));
        }
        let mut area = self.area.lock();
        let (mut rest, mut isolated) = (pages, 0);
        while let Some(row) = Row::first_of(rest) {
            isolated += area.insert_row(row.first, row.pages as u64);
            rest = &rest[row.pages..];
        }
        self.free.fetch_add(pages.len() as u64 - isolated, Ordering::Relaxed);
    }

    fn is_isolated(&self, page: PageRef) -> bool {
        let [start, end] = &self.isolated;
        let pfn = page.pfn().raw();
        start.load(Ordering::Relaxed) <= pfn && pfn < end.load(Ordering::Relaxed)
    }

    fn note_isolated(&self, range: Frames) {
        let [start, end] = &self.isolated;
        start.store(range.start.raw(), Ordering::Relaxed);
        end.store(range.end.raw(), Ordering::Relaxed);
    }

    /// Puts a block on the free lists, in pieces where it is larger than they have.
    fn insert(&self, page: PageRef, order: Order) {
        let piece = order.min(MAX_ORDER);
        let mut area = self.area.lock();
        let pieces = (0..order.pages()).step_by(piece.pages() as usize);
        let isolated: u64 = pieces.map(|n| area.insert(page.nth(n), piece)).sum();
        self.free.fetch_add(order.pages() - isolated, Ordering::Relaxed);
    }

    /// Isolates a naturally aligned range of this zone: what is free there, or becomes free, is given to nobody from
    /// now on. `None`: another range is isolated.
    pub(super) fn isolate(&self, range: Frames) -> Option<()> {
        let mut area = self.area.lock();
        let isolated = area.isolate(range)?;
        self.note_isolated(range);
        self.free.fetch_sub(isolated, Ordering::Relaxed);
        Some(())
    }
    /// Pages of the isolated range that are free.
    pub(super) fn isolated_pages(&self) -> u64 {
        self.area.lock().isolated_pages()
    }
    /// Ends the isolation of a range all of whose pages are free: they are the caller's, kind `Free`.
    pub(super) fn take_isolated(&self) -> Option<PageRef> {
        let mut area = self.area.lock();
        self.note_isolated(Frames::new(Pfn::new(0), 0));
        area.take_isolated()
    }
    /// Ends the isolation, and nothing else.
    pub(super) fn give_up_isolated(&self) {
        let mut area = self.area.lock();
        self.note_isolated(Frames::new(Pfn::new(0), 0));
        let pages = area.give_up_isolated();
        self.free.fetch_add(pages, Ordering::Relaxed);
    }

    /// The highest free page in `[above, below)` that is in no free block of 2 MiB, as [`Self::alloc`] gives one.
    pub(super) fn alloc_high(&self, above: Pfn, below: Pfn) -> Option<PageRef> {
        self.admit(Order::PAGE, Reserve::Kept).ok()?;
        let mut end = below;
        let mut page = None;
        // The lock is let go after each block.
        while page.is_none() && end > above {
            let start = Pfn::new(end.raw() - 1).align_down(Order::PMD).max(above);
            page = self.area.lock().take_high(start, end, Order::PMD);
            end = start;
        }
        if page.is_none() {
            self.free.fetch_add(1, Ordering::Relaxed);
        }
        page
    }

    /// Returns the pages on every CPU's list to the free lists, where they can merge. The lists have locks,
    /// so no other CPU need be asked.
    pub fn drain(&self) {
        for list in self.cpus.iter().flatten() {
            let taken = core::mem::take(&mut *list.lock());
            self.insert_all(taken);
        }
    }

    /// Takes the pages off the count, unless that goes below the mark.
    fn admit(&self, order: Order, reserve: Reserve) -> Result<(), OutOfMemory> {
        let wanted = order.pages() + self.marks.floor(reserve);
        let take = |free: u64| (free >= wanted).then(|| free - order.pages());
        match self.free.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take) {
            Ok(_) => Ok(()),
            Err(_) => Err(OutOfMemory),
        }
    }

    fn take(&self, order: Order, of: MigrateType) -> Option<PageRef> {
        let page =
            if order == Order::PAGE { self.take_cached(of) } else { self.area.lock().take(order, of) }?;
        debug_assert!(page.kind() == PageKind::Free && page.refcount() == 0, "{page:?} was used while free");
        Some(page)
    }

    /// The list of the CPU that runs this. Should the thread move meanwhile it uses another CPU's list, which
    /// the list's lock allows.
    fn own_list(&self, of: MigrateType) -> &SpinLock<PageList> {
        &self.cpus[Machine::id().index()][of as usize]
    }

    fn take_cached(&self, of: MigrateType) -> Option<PageRef> {
        let list = self.own_list(of);
        let cached = list.lock().pop();
        cached.or_else(|| self.refill(list, of))
    }

    /// Moves a batch from the free lists to a CPU's list, and returns one page of it.
    fn refill(&self, list: &SpinLock<PageList>, of: MigrateType) -> Option<PageRef> {
        let mut area = self.area.lock();
        let mut list = list.lock();
        while list.len() < BATCH {
            // The smallest blocks first, as single pages would be taken, but each at once.
            let most = Order::new((BATCH - list.len()).ilog2() as u8);
            let mut smaller = (0..most.raw()).map(Order::new);
            let order = smaller.find(|&order| !area.list(order, of).is_empty()).unwrap_or(most);
            let block = area.take(order, of).map(|block| (block, order));
            // All that there is of either type is smaller, and of the other type.
            let Some((block, order)) = block.or_else(|| Some((area.take(Order::PAGE, of)?, Order::PAGE)))
            else {
                break;
            };
            (0..order.pages()).rev().for_each(|k| list.push(block.nth(k)));
        }
        list.pop()
    }

    /// Puts a page on this CPU's list; from a list that is full, a batch returns to the free lists.
    fn cache(&self, page: PageRef, of: MigrateType) {
        let mut list = self.own_list(of).lock();
        list.push(page);
        if list.len() > CACHED {
            let mut surplus = PageList::new();
            (0..BATCH).map_while(|_| list.pop()).for_each(|page| surplus.push(page));
            drop(list);
            self.insert_all(surplus);
        }
    }

    fn insert_all(&self, mut pages: PageList) {
        let mut area = self.area.lock();
        let mut isolated = 0;
        while let Some(page) = pages.pop() {
            isolated += area.insert(page, Order::PAGE);
        }
        self.free.fetch_sub(isolated, Ordering::Relaxed);
    }

    /// What the check holds against the lists, to be damaged by its tests.
    #[cfg(test)]
    pub(crate) fn free_count(&self) -> &AtomicU64 {
        &self.free
    }
    /// Sets the type of a pageblock, whatever list its free blocks are on.
    #[cfg(test)]
    pub(crate) fn retype(&self, pfn: Pfn, to: MigrateType) {
        self.area.lock().retype(pfn, to);
    }
    /// Puts a page on CPU 0's list, whatever its length.
    #[cfg(test)]
    pub(crate) fn cache_anyway(&self, page: PageRef) {
        self.cpus[0][0].lock().push(page);
    }

    /// Runs `f` on the free lists and on every CPU's list, one after the other, locked.
    pub(super) fn each_list(&self, mut f: impl FnMut(Listed<'_>)) {
        {
            let area = self.area.lock();
            for order in (0..=MAX_ORDER.raw()).map(Order::new) {
                for of in MigrateType::ALL {
                    f(Listed::Blocks(order, of, area.list(order, of), area.pageblocks()));
                }
            }
        }
        for list in self.cpus.iter().flatten() {
            f(Listed::Cached(&list.lock()));
        }
    }
}

/// Pages side by side, as they come one after the other, upwards or downwards.
struct Row {
    /// The lowest.
    first: PageRef,
    /// How many.
    pages: usize,
}

impl Row {
    /// The longest row that `pages` begins with; `None`: there is no page.
    #[inline]
    fn first_of(pages: &[PageRef]) -> Option<Row> {
        let (&one, rest) = pages.split_first()?;
        let up = rest.iter().zip(1..).take_while(|&(&next, n)| next == one.nth(n)).count();
        if up != 0 {
            return Some(Row { first: one, pages: 1 + up });
        }
        let down = rest.iter().zip(1..).take_while(|&(&next, n)| next.nth(n) == one).count();
        Some(Row { first: pages[down], pages: 1 + down })
    }
}

/// A list of free memory.
pub(super) enum Listed<'a> {
    /// Free blocks of one order in pageblocks of one type, and the types.
    Blocks(Order, MigrateType, &'a PageList, &'a Pageblocks),
    /// Single pages on a CPU's list.
    Cached(&'a PageList),
}
