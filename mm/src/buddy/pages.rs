//! The allocator's functions of [`Mm`].
#![forbid(unsafe_code)]

use arch::addr::PAGE_SIZE;
use arch::{Machine, Order, Pfn, PhysMem};

use super::ORDERS;
use super::migratetype::MigrateType;
use super::watermark::{Reserve, Watermarks};
use super::zone::Zone;
use crate::Mm;
use crate::boot::Frames;
use crate::error::OutOfMemory;
use crate::kalloc::inject;
use crate::mapcount;
use crate::page::{Flags, FolioRef, LastRef, PageKind, PageRef, SinglePages};
use crate::rmap;
use crate::stats::Counter;
use crate::thp::reclaim;
use crate::trace::Point;

impl Mm {
    /// A block of 2^`order` pages, the sole reference to which is the caller's: contents undefined, `kind` and `order`
    /// in the first struct page, which has refcount 1. The pages are no folio yet ([`PageRef::prep_compound`]), nor
    /// single pages ([`Self::split_page`]).
    ///
    /// # Errors
    /// [`OutOfMemory`]: no such block is free, or only what [`Reserve`] keeps from this kind. `order` above
    /// [`super::MAX_ORDER`] always fails.
    pub fn alloc_pages(&self, order: Order, kind: PageKind) -> Result<FolioRef, OutOfMemory> {
        self.alloc_here(order, kind)
    }

    /// As [`Self::alloc_pages`], a part of the caller: for faults, which know the order and the kind.
    ///
    /// # Errors
    /// As [`Self::alloc_pages`].
    #[inline(always)]
    pub(crate) fn alloc_here(&self, order: Order, kind: PageKind) -> Result<FolioRef, OutOfMemory> {
        if inject::denied() {
            return Err(OutOfMemory);
        }
        let page = self.zone.alloc(order, Reserve::of(kind), MigrateType::of(kind));
        let page = page.or_else(|_| self.alloc_slow(order, kind))?;
        Ok(self.give_out(page, order, kind))
    }

    /// Once more: a huge page after memory was compacted; others with what reservations of huge pages held, and what
    /// nobody maps of folios. A reservation is had where a block is free: near the end of memory each one would compact
    /// all of it for a block that goes back at the next fault.
    ///
    /// Where somebody else was faster, or it was not enough, more is given back, as long as there is anything.
    #[cold]
    fn alloc_slow(&self, order: Order, kind: PageKind) -> Result<PageRef, OutOfMemory> {
        let huge = order == Order::PMD && matches!(kind, PageKind::Anon | PageKind::Hugetlb);
        let mut compacted = false;
        loop {
            let enough = order.pages() + self.watermarks().floor(Reserve::of(kind));
            let compact = huge && !compacted && self.free_page_count() >= enough;
            compacted = compact && rmap::compact::direct(self, order);
            if !compacted && reclaim::make_room(self, order, kind) == 0 {
                self.shortage.note(order, kind);
                return Err(OutOfMemory);
            }
            self.drain_cpu_lists();
            if let Ok(page) = self.zone.alloc(order, Reserve::of(kind), MigrateType::of(kind)) {
                return Ok(page);
            }
        }
    }

    /// As [`Self::alloc_pages`], of what is free now: nothing is given back for it, nothing moves.
    pub(crate) fn alloc_free_block(&self, order: Order, kind: PageKind) -> Option<FolioRef> {
        if inject::denied() {
            return None;
        }
        let page = self.zone.alloc(order, Reserve::of(kind), MigrateType::of(kind)).ok()?;
        Some(self.give_out(page, order, kind))
    }

    /// The highest free page in `[above, below)`, for anonymous memory that moves there out of a place that is to
    /// become free: contents undefined, one reference. Never out of a free block of 2 MiB.
    pub(crate) fn alloc_high(&self, above: Pfn, below: Pfn) -> Option<FolioRef> {
        if inject::denied() {
            return None;
        }
        let page = self.zone.alloc_high(above, below)?;
        Some(self.give_out(page, Order::PAGE, PageKind::Anon))
    }

    #[inline(always)]
    fn give_out(&self, page: PageRef, order: Order, kind: PageKind) -> FolioRef {
        page.set_kind(kind, order);
        page.set_refcount(1);
        self.stats.note(Point::Alloc, order.pages(), || [page.pfn().raw(), order.raw().into(), 0, 0]);
        FolioRef::from_raw(page)
    }

    /// Isolates the naturally aligned range of 2^`order` frames from `first`: what is free there, or becomes free, is
    /// given to nobody until the isolation ends. All of it is RAM. `None`: another range is isolated.
    pub(crate) fn isolate(&self, first: Pfn, order: Order) -> Option<Isolation<'_>> {
        self.zone.isolate(Frames::new(first, order.pages()))?;
        self.drain_cpu_lists();
        Some(Isolation { mm: self, order, taken: false })
    }

    /// One page of zeros; otherwise as [`Self::alloc_pages`].
    ///
    /// # Errors
    /// As [`Self::alloc_pages`].
    pub fn alloc_zeroed_page(&self, kind: PageKind) -> Result<FolioRef, OutOfMemory> {
        let page = self.alloc_here(Order::PAGE, kind)?;
        Machine::zero(page.pfn().phys(), PAGE_SIZE);
        Ok(page)
    }

    /// Drops a reference to a block of 2^`order` pages, plain or a folio, and gives it back if that
    /// was the last one. If a speculative reference is still out, whoever drops it gives the block back.
    /// A block with refcount 0 is frozen, which makes the caller its sole user, and is given back at once.
    ///
    /// # Panics
    /// The block is not given out, has another order, or is reserved: see [`Self::put_folio`].
    pub fn free_pages(&self, block: FolioRef, order: Order) {
        let page = block.page();
        check_given_out(page);
        assert!(page.order() == order, "{page:?} of order {} freed as order {order}", page.order());
        if page.refcount() == 0 || block.put() == LastRef::Yes {
            self.release(page, order);
        }
    }

    /// Drops a reference to a page or to the head of a folio. The last one gives the memory back: hugetlb folios
    /// to their pool, all others to the buddy allocator.
    ///
    /// # Panics
    /// The page is free already, reserved, a tail, or inside a block: the caller has lost count.
    #[inline]
    pub fn put_folio(&self, folio: FolioRef) {
        self.put_with_others(folio, 0);
    }

    /// As [`Self::put_folio`], and one reference more, which an entry has remembered that is gone and flushed.
    #[inline]
    pub(crate) fn put_folio_twice(&self, folio: FolioRef) {
        self.put_with_others(folio, 1);
    }

    #[inline]
    fn put_with_others(&self, folio: FolioRef, others: u32) {
        let page = folio.page();
        // Of a reserved page a walker may hold a reference beside that of boot, which is never dropped.
        if !page.is_kind(PageKind::Reserved) {
            check_given_out(page);
        }
        if folio.put_with(others) == LastRef::Yes {
            self.put_last(page);
        }
    }

    /// The last reference is gone.
    fn put_last(&self, page: PageRef) {
        match page.kind() {
            PageKind::Hugetlb => crate::hugetlb::free_folio(self, FolioRef::from_raw(page)),
            PageKind::Reserved => check_given_out(page),
            _ => self.release(page, page.order()),
        }
    }

    /// As [`Self::put_folio`] for each of the pages. Those whose last reference it was go back in one piece where they
    /// lie side by side.
    ///
    /// # Panics
    /// As [`Self::put_folio`].
    pub fn put_pages(&self, pages: SinglePages) {
        let mut free: Option<(PageRef, u64)> = None;
        for folio in pages {
            let page = folio.page();
            if !page.is_single(PageKind::Anon) {
                self.put_folio(folio);
                continue;
            }
            if folio.put() == LastRef::No {
                continue;
            }
            assert_unused(page, 0);
            page.make_free(1);
            Machine::released(page.pfn().phys(), PAGE_SIZE);
            free = Some(match free {
                Some((first, n)) if first.nth(n) == page => (first, n + 1),
                other => {
                    self.free_run(other, MigrateType::Movable);
                    (page, 1)
                }
            });
        }
        self.free_run(free, MigrateType::Movable);
    }

    /// As [`Self::put_pages`], for the `n` single pages of vmemmap from `first` on, each with one reference that is the
    /// caller's: what nobody else holds goes back in as few pieces as it lies in.
    ///
    /// # Panics
    /// One of them is no single page of vmemmap.
    pub(crate) fn put_vmemmap(&self, first: PageRef, n: u64) {
        let mut free = 0;
        for k in 0..n {
            let page = first.nth(k);
            assert!(page.is_single(PageKind::Vmemmap), "{page:?} is given up as a page of vmemmap");
            match FolioRef::from_raw(page).put() {
                LastRef::Yes => free += 1,
                // A walker holds it, who gives it back.
                LastRef::No => {
                    self.free_vmemmap(first.nth(k - free), free);
                    free = 0;
                }
            }
        }
        self.free_vmemmap(first.nth(n - free), free);
    }

    fn free_vmemmap(&self, first: PageRef, n: u64) {
        if n == 0 {
            return;
        }
        (0..n).for_each(|k| debug_assert!(first.nth(k).raw_mapcount() == 0));
        first.make_free(n);
        Machine::released(first.pfn().phys(), n * PAGE_SIZE);
        self.free_run(Some((first, n)), MigrateType::of(PageKind::Vmemmap));
    }

    /// Drops `n` references to a folio, or to a single page, which entries have remembered that were cleared and
    /// flushed.
    ///
    /// # Panics
    /// As [`Self::put_folio`].
    pub(crate) fn put_references(&self, head: PageRef, n: u32) {
        if n > 1 {
            head.put_many(n - 1);
        }
        self.put_folio(FolioRef::from_raw(head));
    }

    fn free_run(&self, run: Option<(PageRef, u64)>, of: MigrateType) {
        if let Some((first, n)) = run {
            self.stats.note(Point::Free, n, || [first.pfn().raw(), 0, 0, 0]);
            self.zone.free_run(first, n, of);
        }
    }

    /// Makes a given-out block of 2^`order` pages, plain or a folio, into single pages of its kind with one
    /// reference each. The caller is its sole user.
    ///
    /// # Panics
    /// As [`Self::free_pages`].
    pub fn split_page(&self, block: FolioRef, order: Order) -> SinglePages {
        let page = block.page();
        check_given_out(page);
        assert!(page.order() == order, "{page:?} of order {} split as order {order}", page.order());
        let kind = page.kind();
        if page.flags().contains(Flags::HEAD) {
            page.dissolve(kind);
        } else {
            for single in (1..order.pages()).map(|n| page.nth(n)) {
                single.set_kind(kind, Order::PAGE);
                single.set_refcount(1);
            }
            page.set_kind(kind, Order::PAGE);
        }
        SinglePages::from_raw(block.into_raw(), order.pages())
    }

    /// Returns a block without references to the zone.
    fn release(&self, page: PageRef, order: Order) {
        let (flags, of) = (page.flags(), MigrateType::of(page.kind()));
        assert!(!flags.contains(Flags::HVO), "{page:?} freed while its vmemmap is optimised");
        mapcount::free(self, page);
        rmap::deferred::forget(self, page);
        assert_unused(page, 0);
        let used = if flags.contains(Flags::HEAD) { order.pages() } else { 1 };
        page.make_free(used);
        Machine::released(page.pfn().phys(), order.bytes());
        self.stats.note(Point::Free, order.pages(), || [page.pfn().raw(), 0, 0, 0]);
        self.zone.free(page, order, of);
    }

    /// Free pages, on free lists and lists of CPUs (4 KiB units).
    #[must_use]
    pub fn free_page_count(&self) -> u64 {
        self.zone.free_pages()
    }
    /// Pages that the allocator has, free or given out, those that hold struct pages among them (4 KiB units).
    #[must_use]
    pub fn managed_pages(&self) -> u64 {
        self.zone.managed()
    }
    /// Free blocks of each order.
    #[must_use]
    pub fn buddyinfo(&self) -> [u64; ORDERS] {
        self.zone.free_blocks()
    }
    /// Pages that can be had and nobody misses: free ones, and those of reservations that no entry maps, above the low
    /// mark (4 KiB units; Linux: MemAvailable, which has page cache besides). Who may take them is a table in
    /// [`crate::thp::reclaim`]: processes and objects, not the kernel's own memory.
    #[must_use]
    pub fn available_pages(&self) -> u64 {
        (self.free_page_count() + self.stats.get(Counter::NrThpReserved))
            .saturating_sub(self.watermarks().low)
    }
    /// The marks.
    #[must_use]
    pub fn watermarks(&self) -> Watermarks {
        self.zone.watermarks()
    }
    /// The zones.
    #[must_use]
    pub fn zones(&self) -> &[Zone] {
        core::slice::from_ref(&self.zone)
    }
    /// Returns the pages on the CPUs' lists to the free lists, where they can merge.
    pub fn drain_cpu_lists(&self) {
        self.zone.drain();
    }
}

/// A range that is isolated, until this is dropped or all of it is taken.
pub(crate) struct Isolation<'m> {
    mm: &'m Mm,
    order: Order,
    taken: bool,
}

impl Isolation<'_> {
    /// Whether all of the range is free.
    pub(crate) fn is_complete(&self) -> bool {
        self.mm.drain_cpu_lists();
        self.mm.zone.isolated_pages() == self.order.pages()
    }
    /// Takes the range, all of which is free, as one block: as [`Mm::alloc_pages`] gives one.
    pub(crate) fn take(mut self, kind: PageKind) -> Option<FolioRef> {
        let page = self.mm.zone.take_isolated()?;
        self.taken = true;
        Some(self.mm.give_out(page, self.order, kind))
    }
}

impl Drop for Isolation<'_> {
    fn drop(&mut self) {
        if !self.taken {
            self.mm.zone.give_up_isolated();
        }
    }
}

/// Panics where somebody still uses a page whose last reference is gone, but for the entries that are known to go with
/// it.
#[inline]
pub(super) fn assert_unused(page: PageRef, going: u32) {
    let mapped = page.raw_mapcount();
    assert!(mapped == going, "{page:?} freed while {mapped} entries map it");
    let pins = page.pincount();
    assert!(pins == 0, "{page:?} freed while it has {pins} pins");
}

/// Panics, in a sentence, where `page` is not the first of a block that is given out.
fn check_given_out(page: PageRef) {
    let wrong = match page.kind() {
        PageKind::Buddy => "it is free already: a free block begins here",
        PageKind::Free => "it is free already, or inside a block",
        PageKind::Reserved => "it is reserved and was never given out",
        PageKind::Tail => "it is a tail: its folio is freed as one",
        _ => return,
    };
    panic!("{page:?} cannot be freed: {wrong}");
}
