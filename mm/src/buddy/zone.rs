//! A zone: admission by the marks, free lists, a list of single pages per CPU.
#![forbid(unsafe_code)]

use core::sync::atomic::{AtomicU64, Ordering};

use arch::contract::MAX_CPUS;
use arch::sync::SpinLock;
use arch::{Cpu, Machine, Order};

use super::area::FreeArea;
use super::watermark::{Reserve, Watermarks};
use super::{MAX_ORDER, ORDERS};
use crate::boot::Frames;
use crate::error::OutOfMemory;
use crate::locks;
use crate::page::{PageKind, PageList, PageRef, page_of};

/// Pages that move at once between a CPU's list and the free lists.
pub(super) const BATCH: u64 = 32;
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
    /// Single pages, one list a CPU. P.
    cpus: [SpinLock<PageList>; MAX_CPUS],
}

impl Zone {
    /// A zone of `managed` pages, none free yet.
    #[must_use]
    pub fn new(name: &'static str, managed: u64) -> Self {
        Zone {
            name,
            managed,
            marks: Watermarks::new(managed),
            free: AtomicU64::new(0),
            area: SpinLock::new(locks::ZONE, FreeArea::new()),
            cpus: [const { SpinLock::new(locks::PER_CPU, PageList::new()) }; MAX_CPUS],
        }
    }

    /// Gives frames to the zone for the first time. Their struct pages have kind `Free`.
    pub(crate) fn add(&self, frames: Frames) {
        let mut area = self.area.lock();
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
        self.cpus.iter().map(|list| list.lock().len()).sum()
    }
    /// Free blocks of each order; pages on the lists of CPUs are not among them.
    #[must_use]
    pub fn free_blocks(&self) -> [u64; ORDERS] {
        let area = self.area.lock();
        core::array::from_fn(|n| area.list(Order::new(n as u8)).len())
    }

    /// A block of `order`, whose first struct page has kind `Free` and is otherwise zero.
    pub(super) fn alloc(&self, order: Order, reserve: Reserve) -> Result<PageRef, OutOfMemory> {
        if order > MAX_ORDER {
            return Err(OutOfMemory);
        }
        self.admit(order, reserve)?;
        let found = self.take(order).or_else(|| {
            self.drain();
            self.take(order)
        });
        found.ok_or_else(|| {
            self.free.fetch_add(order.pages(), Ordering::Relaxed);
            OutOfMemory
        })
    }

    /// Takes a block back. All its struct pages have kind `Free` and are otherwise zero.
    pub(super) fn free(&self, page: PageRef, order: Order) {
        if order == Order::PAGE {
            self.cache(page);
        } else {
            self.area.lock().insert(page, order);
        }
        self.free.fetch_add(order.pages(), Ordering::Relaxed);
    }

    /// Returns the pages on every CPU's list to the free lists, where they can merge. The lists have locks,
    /// so no other CPU need be asked.
    pub fn drain(&self) {
        for list in &self.cpus {
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

    fn take(&self, order: Order) -> Option<PageRef> {
        let page = if order == Order::PAGE { self.take_cached() } else { self.area.lock().take(order) }?;
        debug_assert!(page.kind() == PageKind::Free && page.refcount() == 0, "{page:?} was used while free");
        Some(page)
    }

    /// The list of the CPU that runs this. Should the thread move meanwhile it uses another CPU's list, which
    /// the list's lock allows.
    fn own_list(&self) -> &SpinLock<PageList> {
        &self.cpus[Machine::id().index()]
    }

    fn take_cached(&self) -> Option<PageRef> {
        let list = self.own_list();
        let cached = list.lock().pop();
        cached.or_else(|| self.refill(list))
    }

    /// Moves a batch from the free lists to a CPU's list, and returns one page of it.
    fn refill(&self, list: &SpinLock<PageList>) -> Option<PageRef> {
        let mut area = self.area.lock();
        let page = area.take(Order::PAGE)?;
        let mut list = list.lock();
        for page in (1..BATCH).map_while(|_| area.take(Order::PAGE)) {
            list.push(page);
        }
        Some(page)
    }

    /// Puts a page on this CPU's list; from a list that is full, a batch returns to the free lists.
    fn cache(&self, page: PageRef) {
        let mut list = self.own_list().lock();
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
        while let Some(page) = pages.pop() {
            area.insert(page, Order::PAGE);
        }
    }

    /// What the check holds against the lists, to be damaged by its tests.
    #[cfg(test)]
    pub(crate) fn free_count(&self) -> &AtomicU64 {
        &self.free
    }
    /// Puts a page on CPU 0's list, whatever its length.
    #[cfg(test)]
    pub(crate) fn cache_anyway(&self, page: PageRef) {
        self.cpus[0].lock().push(page);
    }

    /// Runs `f` on the free lists and on every CPU's list, one after the other, locked.
    pub(super) fn each_list(&self, mut f: impl FnMut(Listed<'_>)) {
        {
            let area = self.area.lock();
            for order in (0..=MAX_ORDER.raw()).map(Order::new) {
                f(Listed::Blocks(order, area.list(order)));
            }
        }
        for list in &self.cpus {
            f(Listed::Cached(&list.lock()));
        }
    }
}

/// A list of free memory.
pub(super) enum Listed<'a> {
    /// Free blocks of one order.
    Blocks(Order, &'a PageList),
    /// Single pages on a CPU's list.
    Cached(&'a PageList),
}
