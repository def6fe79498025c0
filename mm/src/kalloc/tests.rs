//! The heap, from its first byte to its last, and `KArc`.

use core::alloc::{GlobalAlloc, Layout};
use core::ptr::NonNull;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use arch::Order;
use arch::model;

use super::heap::{CHUNK, LARGE};
use super::*;
use crate::testkit::Random;

/// Host memory that runs out.
struct Bounded {
    pages_left: Mutex<u64>,
}

impl Bounded {
    fn leak(pages: u64) -> &'static Bounded {
        Box::leak(Box::new(Bounded { pages_left: Mutex::new(pages) }))
    }
    fn left(&self) -> u64 {
        *self.pages_left.lock().unwrap()
    }
    fn layout(order: Order) -> Layout {
        Layout::from_size_align(order.bytes() as usize, order.bytes() as usize).unwrap()
    }
}

impl PageSource for Bounded {
    fn take(&self, order: Order) -> Option<NonNull<u8>> {
        let mut left = self.pages_left.lock().unwrap();
        *left = left.checked_sub(order.pages())?;
        // SAFETY: the layout is not empty.
        NonNull::new(unsafe { std::alloc::alloc(Self::layout(order)) })
    }
    unsafe fn give(&self, block: NonNull<u8>, order: Order) {
        *self.pages_left.lock().unwrap() += order.pages();
        // SAFETY: allocated above with this layout.
        unsafe { std::alloc::dealloc(block.as_ptr(), Self::layout(order)) };
    }
}

/// A heap with an early area of `bytes`.
fn heap(bytes: usize) -> KernelHeap {
    let heap = KernelHeap::new();
    let area = Box::leak(vec![0u64; bytes / 8].into_boxed_slice());
    // SAFETY: 1. leaked, and used by nobody else; 2. the heap is new.
    unsafe { heap.init_early(NonNull::from(area).cast(), bytes) };
    heap
}

fn take(heap: &KernelHeap, bytes: usize, align: usize) -> Option<(NonNull<u8>, Layout)> {
    let layout = Layout::from_size_align(bytes, align).unwrap();
    // SAFETY: the layout is not empty.
    let block = NonNull::new(unsafe { heap.alloc(layout) })?;
    assert!(block.as_ptr().addr().is_multiple_of(align));
    // SAFETY: the block has this size.
    unsafe { block.as_ptr().write_bytes(0xa5, bytes) };
    Some((block, layout))
}

fn give(heap: &KernelHeap, (block, layout): (NonNull<u8>, Layout)) {
    // SAFETY: from `take`, and not given before.
    unsafe { heap.dealloc(block.as_ptr(), layout) };
}

/// The early area serves until pages come; what it gave out returns to it even later; and it runs out with null.
#[test]
fn early_memory_returns_to_the_early_area() {
    model::with_default_machine(|| {
        let heap = heap(4096);
        let early = take(&heap, 100, 8).unwrap();
        let used = heap.stats().early_used;
        assert!(used >= 100);
        assert!(take(&heap, 8000, 8).is_none(), "larger than the area");
        heap.attach(Bounded::leak(64), 1).unwrap();
        let later = take(&heap, 100, 8).unwrap();
        assert_eq!(heap.stats().early_used, used);
        assert!(heap.stats().small_used >= 100);
        give(&heap, early);
        give(&heap, later);
        let stats = heap.stats();
        assert_eq!((stats.early_used, stats.small_used, stats.large_bytes), (0, 0, 0));
    });
}

/// A heap without any memory, and one whose pages are used up, answer null and go on working.
#[test]
fn an_exhausted_heap_answers_null() {
    model::with_default_machine(|| {
        assert!(take(&KernelHeap::new(), 8, 8).is_none());
        let (heap, source) = (heap(4096), Bounded::leak(CHUNK.pages() + 5));
        heap.attach(source, 0).unwrap();
        let mut held = Vec::new();
        while let Some(block) = take(&heap, 64, 8) {
            held.push(block);
        }
        let chunk = CHUNK.bytes() as usize / 64;
        assert!(held.len() >= chunk && source.left() == 0, "{} of at least {chunk}", held.len());
        assert!(take(&heap, LARGE + 1, 8).is_none());
        held.drain(..).for_each(|block| give(&heap, block));
        assert_eq!(heap.stats().small_used, 0);
        assert!(take(&heap, LARGE, 8).is_some(), "what was freed has merged");
        assert!(take(&heap, usize::MAX >> 2, 8).is_none(), "more than any block");
        assert!(heap.attach(source, 1).is_err());
    });
}

/// Small requests do not touch the pages while the chunks of boot last; large ones take pages and return them.
#[test]
fn large_requests_return_their_pages() {
    model::with_default_machine(|| {
        let (heap, source) = (heap(4096), Bounded::leak(256));
        heap.attach(source, 4).unwrap();
        let grown = source.left();
        let small: Vec<_> = (1..200).map(|n| take(&heap, n * 4, 8).unwrap()).collect();
        assert_eq!(source.left(), grown);
        let large = [take(&heap, LARGE + 1, 8).unwrap(), take(&heap, 100, 32 << 10).unwrap()];
        assert_eq!(source.left(), grown - 16);
        assert_eq!(heap.stats().large_bytes, 16 * 4096);
        large.into_iter().for_each(|block| give(&heap, block));
        small.into_iter().for_each(|block| give(&heap, block));
        assert_eq!((source.left(), heap.stats().large_bytes, heap.stats().small_used), (grown, 0, 0));
    });
}

/// Blocks of any size and alignment do not overlap, and keep what was written.
#[test]
fn blocks_do_not_overlap() {
    let mut random = Random::for_test("blocks_do_not_overlap", 3);
    model::with_default_machine(|| {
        let heap = heap(16 << 10);
        heap.attach(Bounded::leak(4096), 2).unwrap();
        let mut held: Vec<(NonNull<u8>, Layout, u8)> = Vec::new();
        let check = |&(block, layout, mark): &(NonNull<u8>, Layout, u8)| {
            // SAFETY: the block is ours and has this size.
            let bytes = unsafe { std::slice::from_raw_parts(block.as_ptr(), layout.size()) };
            assert!(bytes.iter().all(|&byte| byte == mark), "a block was overwritten");
        };
        for round in 0..3000u32 {
            let limit = 1 << random.below(16);
            let bytes = 1 + random.below(limit) as usize;
            if let Some((block, layout)) = take(&heap, bytes, 1 << random.below(9)) {
                let mark = round as u8;
                // SAFETY: the block has this size.
                unsafe { block.as_ptr().write_bytes(mark, bytes) };
                held.push((block, layout, mark));
            }
            while held.len() > 60 {
                let gone = random.take(&mut held).unwrap();
                check(&gone);
                give(&heap, (gone.0, gone.1));
            }
        }
        for gone in held {
            check(&gone);
            give(&heap, (gone.0, gone.1));
        }
        assert_eq!((heap.stats().small_used, heap.stats().large_bytes), (0, 0));
    });
}

/// Counts how often it is dropped.
struct Dropped<'a>(&'a AtomicUsize);

impl Drop for Dropped<'_> {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// The last owner drops the value, once.
#[test]
fn the_last_owner_drops() {
    let drops = AtomicUsize::new(0);
    let first = KArc::try_new(Dropped(&drops)).unwrap();
    let second = first.clone();
    assert!(KArc::ptr_eq(&first, &second));
    assert!(!KArc::ptr_eq(&first, &KArc::try_new(Dropped(&drops)).unwrap()));
    assert_eq!((KArc::owners(&first), drops.load(Ordering::Relaxed)), (2, 1));
    drop(first);
    assert_eq!((KArc::owners(&second), drops.load(Ordering::Relaxed)), (1, 1));
    drop(second);
    assert_eq!(drops.load(Ordering::Relaxed), 2);
}

/// Where memory is out, making fails and the value is dropped.
#[test]
fn making_can_fail() {
    let drops = AtomicUsize::new(0);
    inject::fail_nth(1);
    assert!(KArc::try_new(Dropped(&drops)).is_err());
    assert!(inject::disarm());
    assert_eq!(drops.load(Ordering::Relaxed), 1);
}

/// Owners on many threads come and go; the value is dropped once, after all of them.
#[test]
fn owners_on_many_threads() {
    let drops = AtomicUsize::new(0);
    let shared = KArc::try_new((AtomicUsize::new(0), Dropped(&drops))).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            let own = shared.clone();
            scope.spawn(move || {
                for _ in 0..1000 {
                    own.clone().0.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
    });
    assert_eq!((shared.0.load(Ordering::Relaxed), KArc::owners(&shared)), (4000, 1));
    drop(shared);
    assert_eq!(drops.load(Ordering::Relaxed), 1);
}
