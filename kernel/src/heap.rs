//! The global allocator: [`KernelHeap`], from a static area until pages can be had.

use core::cell::UnsafeCell;
use core::ptr::NonNull;

use mm::Mm;
use mm::kalloc::KernelHeap;

/// Bytes of the static area, which carries the lists of boot.
const EARLY_BYTES: usize = 256 << 10;
/// Chunks that the heap takes at once when pages can be had.
const FIRST_CHUNKS: usize = 8;

#[global_allocator]
static HEAP: KernelHeap = KernelHeap::new();

#[repr(C, align(4096))]
struct Area(UnsafeCell<[u8; EARLY_BYTES]>);
// SAFETY: handed to the heap once, by `init`; nobody else names its bytes.
unsafe impl Sync for Area {}

static EARLY: Area = Area(UnsafeCell::new([0; EARLY_BYTES]));

/// Gives the heap its static area. Called once, before anything is allocated.
pub fn init() {
    if let Some(area) = NonNull::new(EARLY.0.get().cast::<u8>()) {
        // SAFETY: `init_early` asks that
        // 1. the area is valid for ever and used by nobody else: a static that only this function names;
        // 2. it is called once, before the first request: boot calls this first.
        unsafe { HEAP.init_early(area, EARLY_BYTES) };
    }
}

/// Goes on with pages.
///
/// # Errors
/// Not even the first chunks could be had.
pub fn use_pages_of(mm: &'static Mm) -> Result<(), mm::error::OutOfMemory> {
    HEAP.attach(mm, FIRST_CHUNKS)
}

/// Pages (4 KiB) in the heap's chunks, which it keeps for good.
pub fn small_pages() -> u64 {
    HEAP.stats().small_bytes as u64 / arch::addr::PAGE_SIZE
}
