//! The kernel's heap.

use core::alloc::{GlobalAlloc, Layout};
use core::ptr::{NonNull, null_mut, with_exposed_provenance_mut};
use core::sync::atomic::{AtomicUsize, Ordering};

use arch::Order;
use arch::addr::PAGE_SIZE;
use arch::sync::SpinLock;

use super::shelf::Shelf;
use crate::buddy::MAX_ORDER;
use crate::error::OutOfMemory;
use crate::locks;

/// A request of more bytes, or of a greater alignment, is served by pages of its own.
pub const LARGE: usize = 16 << 10;
/// The heap of small blocks grows by chunks of this order: 64 KiB.
pub const CHUNK: Order = Order::new(4);
/// Size classes of small blocks: 8 bytes to a chunk.
const CLASSES: usize = (PAGE_SIZE << CHUNK.raw()).ilog2() as usize + 1;

/// Where the heap's pages come from. Called without any lock of the heap.
pub trait PageSource: Sync {
    /// A block of 2^`order` pages, naturally aligned, or `None`: memory is out.
    fn take(&self, order: Order) -> Option<NonNull<u8>>;
    /// Takes a block back that [`Self::take`] gave for the same `order`.
    ///
    /// # Safety
    /// 1. The block came from [`Self::take`] of this source with this order; 2. nobody uses it any more.
    unsafe fn give(&self, block: NonNull<u8>, order: Order);
}

/// How the heap is used, in bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct HeapStats {
    /// The early area.
    pub early_bytes: usize,
    /// Of it, in use.
    pub early_used: usize,
    /// The small blocks' memory.
    pub small_bytes: usize,
    /// Of it, in use.
    pub small_used: usize,
    /// In pages of their own.
    pub large_bytes: usize,
}

/// A heap that begins with a static area and goes on with pages. Large blocks go back to where they came from when they
/// are freed; pages that small blocks were made of stay the heap's for ever. No lock is taken while one of the heap's
/// is held, and pages are fetched with none held, so a request of a caller who holds spinlocks of rank 70 or above must
/// not be the one that needs pages.
pub struct KernelHeap {
    /// The early area; until [`Self::attach`], all requests. A leaf lock.
    early: SpinLock<linked_list_allocator::Heap>,
    /// Where the early area begins, and how long it is. Set once, before the first request.
    early_start: AtomicUsize,
    early_bytes: AtomicUsize,
    /// A leaf lock.
    small: SpinLock<Small>,
    large_bytes: AtomicUsize,
}

struct Small {
    heap: buddy_system_allocator::Heap<CLASSES>,
    /// What was freed of it a moment ago.
    shelf: Shelf,
    source: Option<&'static dyn PageSource>,
}

impl Small {
    /// A block, where there is one without more pages. What waits on the shelf is given back first where that helps.
    fn take(&mut self, layout: Layout) -> Option<NonNull<u8>> {
        let whole = whole(layout)?;
        if let Some(block) = self.shelf.take(whole.size()) {
            return NonNull::new(with_exposed_provenance_mut(block));
        }
        if let Ok(block) = self.heap.alloc(whole) {
            return Some(block);
        }
        self.clear_shelf();
        self.heap.alloc(whole).ok()
    }

    #[cold]
    fn clear_shelf(&mut self) {
        let Small { heap, shelf, .. } = self;
        shelf.clear(|bytes, block| {
            let block = NonNull::new(with_exposed_provenance_mut(block));
            if let (Some(block), Ok(whole)) = (block, Layout::from_size_align(bytes, bytes)) {
                // SAFETY: 1. the block was taken from this heap by this layout: all are, by `whole`; 2. `give` had it
                // from its last owner, and the shelf has it no more.
                unsafe { heap.dealloc(block, whole) };
            }
        });
    }

    /// Takes a block back.
    ///
    /// # Safety
    /// 1. The block came from [`Self::take`] with this layout; 2. nobody uses it any more.
    unsafe fn give(&mut self, block: NonNull<u8>, layout: Layout) {
        let Some(whole) = whole(layout) else { return };
        if !self.shelf.put(whole.size(), block.as_ptr().expose_provenance()) {
            // SAFETY: 1. the block was taken by this layout: the same `layout` gives the same `whole`; 2. the caller's
            // promise.
            unsafe { self.heap.dealloc(block, whole) };
        }
    }
}

/// The block that the heap of small blocks gives for a request: its size is a power of two, and so aligned.
fn whole(layout: Layout) -> Option<Layout> {
    let bytes = layout.size().next_power_of_two().max(layout.align()).max(size_of::<usize>());
    Layout::from_size_align(bytes, bytes).ok()
}

impl KernelHeap {
    /// A heap without any memory: every request fails.
    #[must_use]
    pub const fn new() -> Self {
        KernelHeap {
            early: SpinLock::new(locks::HEAP, linked_list_allocator::Heap::empty()),
            early_start: AtomicUsize::new(0),
            early_bytes: AtomicUsize::new(0),
            small: SpinLock::new(
                locks::HEAP,
                Small { heap: buddy_system_allocator::Heap::empty(), shelf: Shelf::new(), source: None },
            ),
            large_bytes: AtomicUsize::new(0),
        }
    }

    /// Gives the heap its early area.
    ///
    /// # Safety
    /// 1. The `bytes` bytes from `area` are valid for reads and writes for ever, and nobody else uses them;
    /// 2. this is called once, before the first request.
    pub unsafe fn init_early(&self, area: NonNull<u8>, bytes: usize) {
        self.early_start.store(area.as_ptr().expose_provenance(), Ordering::Release);
        self.early_bytes.store(bytes, Ordering::Release);
        // SAFETY: `init` asks that 1. the heap is empty and not initialised before, 2. the memory is valid,
        // unused and lives for ever: both are the caller's promises.
        unsafe { self.early.lock().init(area.as_ptr(), bytes) };
    }

    /// Goes on with pages from `source`, and takes `chunks` chunks of [`CHUNK`] at once, so that small requests
    /// do not move the number of free pages until those are used up.
    ///
    /// # Errors
    /// [`OutOfMemory`]: not all chunks could be had; those that could are used.
    pub fn attach(&self, source: &'static dyn PageSource, chunks: usize) -> Result<(), OutOfMemory> {
        self.small.lock().source = Some(source);
        (0..chunks).try_for_each(|_| self.grow(source, CHUNK))
    }

    /// How the heap is used.
    #[must_use]
    pub fn stats(&self) -> HeapStats {
        let early_used = self.early.lock().used();
        let small = self.small.lock();
        HeapStats {
            early_bytes: self.early_bytes.load(Ordering::Relaxed),
            early_used,
            small_bytes: small.heap.stats_total_bytes(),
            small_used: small.heap.stats_alloc_actual() - small.shelf.bytes(),
            large_bytes: self.large_bytes.load(Ordering::Relaxed),
        }
    }

    fn request(&self, layout: Layout) -> Option<NonNull<u8>> {
        let mut small = self.small.lock();
        let Some(source) = small.source else {
            drop(small);
            return self.early.lock().allocate_first_fit(layout).ok();
        };
        let found = if is_large(layout) { None } else { small.take(layout) };
        drop(small);
        match found {
            None if is_large(layout) => self.take_large(source, layout),
            None => self.take_after_growing(source, layout),
            found => found,
        }
    }

    #[cold]
    fn take_after_growing(&self, source: &'static dyn PageSource, layout: Layout) -> Option<NonNull<u8>> {
        loop {
            self.grow(source, CHUNK).or_else(|_| self.grow(source, order_of(layout)?)).ok()?;
            let found = self.small.lock().take(layout);
            if found.is_some() {
                return found;
            }
        }
    }

    /// Adds one block of pages to the small blocks. They stay there.
    fn grow(&self, source: &'static dyn PageSource, order: Order) -> Result<(), OutOfMemory> {
        let start = source.take(order).ok_or(OutOfMemory)?.as_ptr().expose_provenance();
        // SAFETY: the range is valid and ours alone for ever: a source gives blocks that nobody else uses,
        // and this one is never given back.
        unsafe { self.small.lock().heap.add_to_heap(start, start + order.bytes() as usize) };
        Ok(())
    }

    fn take_large(&self, source: &'static dyn PageSource, layout: Layout) -> Option<NonNull<u8>> {
        let order = order_of(layout).ok()?;
        let block = source.take(order)?;
        self.large_bytes.fetch_add(order.bytes() as usize, Ordering::Relaxed);
        Some(block)
    }

    /// # Safety
    /// As [`GlobalAlloc::dealloc`].
    unsafe fn release(&self, block: NonNull<u8>, layout: Layout) {
        let into_early = block.as_ptr().addr().wrapping_sub(self.early_start.load(Ordering::Relaxed));
        if into_early < self.early_bytes.load(Ordering::Relaxed) {
            // SAFETY: the block lies in the early area, so it came from this heap, with this layout.
            return unsafe { self.early.lock().deallocate(block, layout) };
        }
        if !is_large(layout) {
            // SAFETY: 1. not in the early area and not large, so it came from there, with this layout; 2. the caller
            // has done with it.
            return unsafe { self.small.lock().give(block, layout) };
        }
        let source = self.small.lock().source;
        if let (Some(source), Ok(order)) = (source, order_of(layout)) {
            self.large_bytes.fetch_sub(order.bytes() as usize, Ordering::Relaxed);
            // SAFETY: 1. large blocks come from the source, with the order of their layout; 2. the caller
            // has done with it.
            unsafe { source.give(block, order) };
        }
    }
}

impl Default for KernelHeap {
    fn default() -> Self {
        Self::new()
    }
}

// SAFETY: `GlobalAlloc` asks that
// 1. nothing unwinds: running out is null, and what panics is a broken caller, who ends the kernel;
// 2. blocks have the size and alignment of the layout and do not overlap: both inner heaps and the page source
//    see to that for what they give out, and their memory is disjoint;
// 3. a freed block goes to the heap that it came from: `release` tells by address and size.
unsafe impl GlobalAlloc for KernelHeap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        self.request(layout).map_or(null_mut(), NonNull::as_ptr)
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        if let Some(block) = NonNull::new(block) {
            // SAFETY: the caller's promise.
            unsafe { self.release(block, layout) };
        }
    }
}

fn is_large(layout: Layout) -> bool {
    layout.size().max(layout.align()) > LARGE
}

/// The order of the smallest block of pages that a request fits in.
fn order_of(layout: Layout) -> Result<Order, OutOfMemory> {
    let pages = (layout.size().max(layout.align()) as u64).div_ceil(PAGE_SIZE).next_power_of_two();
    if pages > MAX_ORDER.pages() { Err(OutOfMemory) } else { Ok(Order::new(pages.ilog2() as u8)) }
}
