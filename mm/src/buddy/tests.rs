//! The allocator against an oracle: the set of free frames decides which free blocks there must be.
#![forbid(unsafe_code)]

use arch::Pfn;

use super::zone::{BATCH, CACHED};
use super::*;
use crate::Mm;
use crate::boot::Frames;
use crate::config::TailEncoding;
use crate::page::{FolioRef, PageKind, PageRef, page_of};
use crate::testkit::{self, Builder, Random, run_on_cpus};

const KERNEL: PageKind = PageKind::Kernel;

fn order(n: u8) -> Order {
    Order::new(n)
}

/// Which frames are free, and nothing else.
struct Oracle {
    bank: Frames,
    free: Vec<bool>,
}

impl Oracle {
    /// As the struct pages have it now. The machine has one bank.
    fn new(mm: &Mm) -> Self {
        mm.drain_cpu_lists();
        let bank = mm.ram()[0];
        let mut oracle = Oracle { bank, free: vec![false; bank.len() as usize] };
        for pfn in bank.iter().filter(|&pfn| page_of(pfn).kind() == PageKind::Buddy) {
            oracle.set(pfn, page_of(pfn).order(), true);
        }
        oracle
    }

    /// Marks a block; it must have been the opposite, every frame of it.
    fn set(&mut self, first: Pfn, order: Order, free: bool) {
        let at = first.offset_from(self.bank.start) as usize;
        for frame in &mut self.free[at..at + order.pages() as usize] {
            assert_ne!(*frame, free, "a block of order {order} at {first} overlaps another");
            *frame = free;
        }
    }

    fn is_free(&self, first: u64, order: Order) -> bool {
        let block = Frames::new(Pfn::new(first), order.pages());
        block.meet(self.bank) == block
            && block.iter().all(|pfn| self.free[pfn.offset_from(self.bank.start) as usize])
    }

    /// Free blocks of each order, merged as far as can be: a block counts where its double is not free.
    fn blocks(&self) -> [u64; ORDERS] {
        core::array::from_fn(|n| {
            let order = order(n as u8);
            let starts = (0..).map(|n| self.bank.start.align_down(order).raw() + n * order.pages());
            let free =
                starts.take_while(|&at| at < self.bank.end.raw()).filter(|&at| self.is_free(at, order));
            let merges = |at: u64| {
                order < MAX_ORDER && self.is_free(at & !(2 * order.pages() - 1), Order::new(order.raw() + 1))
            };
            free.filter(|&at| !merges(at)).count() as u64
        })
    }

    fn count(&self) -> u64 {
        self.free.iter().filter(|&&free| free).count() as u64
    }
}

/// Compares everything that the allocator says with the oracle.
fn compare(mm: &Mm, oracle: &Oracle) {
    mm.drain_cpu_lists();
    assert_eq!(mm.buddyinfo(), oracle.blocks(), "free blocks by order");
    assert_eq!(mm.free_page_count(), oracle.count(), "free pages");
    mm.check_all().unwrap_or_else(|wrong| panic!("{wrong}"));
}

/// Whatever is allocated, split and freed in whatever order: no two blocks overlap, free blocks are merged as far
/// as can be, the counts are right, and an allocation fails only where no block is left or the mark forbids it.
#[test]
fn random_use_agrees_with_the_oracle() {
    let mut random = Random::for_test("random_use_agrees_with_the_oracle", 1);
    Builder::new().ram_mib(32).boot(|mm, _| {
        let mut oracle = Oracle::new(mm);
        let before = oracle.blocks();
        let mut held: Vec<(FolioRef, Order)> = Vec::new();
        for round in 0..4000 {
            match random.below(8) {
                0..=3 => allocate(mm, &mut random, &mut oracle, &mut held),
                4..=6 => {
                    for _ in 0..random.below(4) {
                        let Some((page, order)) = random.take(&mut held) else { break };
                        oracle.set(page.pfn(), order, true);
                        mm.free_pages(page, order);
                    }
                }
                _ => {
                    if let Some((page, order)) = random.take(&mut held) {
                        held.extend(mm.split_page(page, order).map(|single| (single, Order::PAGE)));
                    }
                }
            }
            if round % 250 == 0 {
                compare(mm, &oracle);
            }
        }
        for (page, order) in held {
            oracle.set(page.pfn(), order, true);
            mm.free_pages(page, order);
        }
        compare(mm, &oracle);
        assert_eq!(mm.buddyinfo(), before);
    });
}

fn allocate(mm: &Mm, random: &mut Random, oracle: &mut Oracle, held: &mut Vec<(FolioRef, Order)>) {
    let want = order(random.below(ORDERS as u64).min(random.below(ORDERS as u64)) as u8);
    match mm.alloc_pages(want, KERNEL) {
        Ok(page) => {
            assert!(page.pfn().is_aligned(want));
            assert_eq!((page.kind(), page.order(), page.refcount()), (KERNEL, want, 1));
            oracle.set(page.pfn(), want, false);
            held.push((page, want));
        }
        Err(_) => {
            let larger = &oracle.blocks()[usize::from(want.raw())..];
            let marked = oracle.count() < want.pages() + mm.watermarks().min;
            assert!(marked || larger.iter().all(|&n| n == 0), "order {want} refused: {larger:?}");
        }
    }
}

/// A block given back merges through all orders, so that memory looks as it did before.
#[test]
fn single_pages_merge_back() {
    testkit::boot(|mm| {
        mm.drain_cpu_lists();
        let before = mm.buddyinfo();
        let pages: Vec<_> = (0..1000).map(|_| mm.alloc_pages(Order::PAGE, KERNEL).unwrap()).collect();
        assert_ne!(mm.buddyinfo(), before);
        pages.into_iter().for_each(|page| mm.free_pages(page, Order::PAGE));
        mm.drain_cpu_lists();
        assert_eq!(mm.buddyinfo(), before);
    });
}

/// The largest order does not merge further, and larger requests are refused.
#[test]
fn the_largest_order_is_the_end() {
    testkit::boot(|mm| {
        let blocks: Vec<_> = (0..4).map(|_| mm.alloc_pages(MAX_ORDER, KERNEL).unwrap()).collect();
        blocks.into_iter().for_each(|page| mm.free_pages(page, MAX_ORDER));
        assert!(mm.alloc_pages(order(11), KERNEL).is_err());
        assert!(mm.alloc_pages(Order::PUD, KERNEL).is_err());
    });
}

/// A bank that begins and ends anywhere gives every page, and its blocks never merge with what is beyond.
#[test]
fn odd_banks_are_used_to_the_last_page() {
    let (start, end) = (0x4000_3000, 0x4000_3000 + 1021 * 4096 + (8 << 20));
    Builder::new().bank(start, end).boot(|mm, _| {
        let oracle = Oracle::new(mm);
        compare(mm, &oracle);
        let mut pages = Vec::new();
        while let Ok(page) = mm.alloc_pages(Order::PAGE, PageKind::Table) {
            assert!((start..end).contains(&page.pfn().phys().raw()));
            pages.push(page);
        }
        assert_eq!(pages.len() as u64, oracle.count());
        pages.into_iter().for_each(|page| mm.free_pages(page, Order::PAGE));
        compare(mm, &oracle);
    });
}

/// Ordinary allocations stop at the `min` mark; those without which memory could not be given back go to the last
/// page, whichever CPU's list it is on.
#[test]
fn the_reserve_is_for_those_who_give_back() {
    Builder::new().ram_mib(16).boot(|mm, env| {
        let min = mm.watermarks().min;
        assert!(min > 0 && min < mm.watermarks().low && mm.watermarks().low < mm.watermarks().high);
        let mut held = Vec::new();
        while let Ok(page) = mm.alloc_pages(Order::PAGE, PageKind::Anon) {
            held.push(page);
        }
        assert_eq!(mm.free_page_count(), min);
        assert!(mm.alloc_pages(order(3), PageKind::Hugetlb).is_err());
        let some = held.split_off(held.len() - 20);
        let free = || some.into_iter().for_each(|page| mm.free_pages(page, Order::PAGE));
        run_on_cpus(env, vec![Box::new(|| ()), Box::new(free)]);
        while let Ok(page) = mm.alloc_pages(Order::PAGE, PageKind::Table) {
            held.push(page);
        }
        assert_eq!((mm.free_page_count(), mm.buddyinfo()), (0, [0; ORDERS]));
        held.into_iter().for_each(|page| mm.free_pages(page, Order::PAGE));
    });
}

/// A block that can be had only by merging pages from another CPU's list is had.
#[test]
fn a_failed_allocation_drains_the_cpu_lists() {
    Builder::new().ram_mib(16).boot(|mm, env| {
        let mut held = Vec::new();
        while let Ok(page) = mm.alloc_pages(Order::PAGE, PageKind::Table) {
            held.push(page);
        }
        let first = held.iter().map(|page| page.pfn()).min().map(|pfn| pfn.align_down(order(5)));
        let first = first.unwrap().add(32);
        let block = Frames::new(first, 32);
        let (back, rest): (Vec<_>, Vec<_>) = held.into_iter().partition(|page| block.contains(page.pfn()));
        assert_eq!(back.len(), 32, "the block is whole");
        let free = || back.into_iter().for_each(|page| mm.free_pages(page, Order::PAGE));
        run_on_cpus(env, vec![Box::new(|| ()), Box::new(free)]);
        assert_eq!((mm.zones()[0].cached_pages(), mm.buddyinfo()), (32, [0; ORDERS]));
        let page = mm.alloc_pages(order(5), PageKind::Table).unwrap();
        assert_eq!(page.pfn(), first);
        mm.free_pages(page, order(5));
        rest.into_iter().for_each(|page| mm.free_pages(page, Order::PAGE));
    });
}

/// A CPU's list is filled by batches and does not grow past its bound; pages on it count as free.
#[test]
fn cpu_lists_are_bounded() {
    testkit::boot(|mm| {
        let zone = &mm.zones()[0];
        let before = mm.free_page_count();
        let page = mm.alloc_pages(Order::PAGE, KERNEL).unwrap();
        assert_eq!((zone.cached_pages(), mm.free_page_count()), (BATCH - 1, before - 1));
        mm.free_pages(page, Order::PAGE);
        let pages: Vec<_> = (0..500).map(|_| mm.alloc_pages(Order::PAGE, KERNEL).unwrap()).collect();
        for page in pages {
            mm.free_pages(page, Order::PAGE);
            assert!(zone.cached_pages() <= CACHED);
        }
        assert_eq!(mm.free_page_count(), before);
        mm.drain_cpu_lists();
        assert_eq!((zone.cached_pages(), mm.free_page_count()), (0, before));
    });
}

/// CPUs that allocate and free at once, and free each other's pages, lose and double nothing.
#[test]
fn cpus_share_a_zone() {
    Builder::new().cpus(4).ram_mib(64).boot(|mm, env| {
        let before = mm.free_page_count();
        let passed = std::sync::Mutex::new(Vec::new());
        let job = |cpu: u64| {
            let (mut random, passed) = (Random::for_test("cpus_share_a_zone", 7 + cpu), &passed);
            move || {
                for _ in 0..1500 {
                    let want = order(random.below(4) as u8);
                    if let Ok(page) = mm.alloc_pages(want, KERNEL) {
                        passed.lock().unwrap().push((page, want));
                    }
                    let other = random.take(&mut passed.lock().unwrap());
                    match other {
                        Some((page, order)) if random.below(4) != 0 => mm.free_pages(page, order),
                        Some(kept) => passed.lock().unwrap().push(kept),
                        None => {}
                    }
                }
            }
        };
        run_on_cpus(env, (0..4).map(|cpu| -> arch::model::Job<'_> { Box::new(job(cpu)) }).collect());
        let left = std::mem::take(&mut *passed.lock().unwrap());
        left.into_iter().for_each(|(page, order)| mm.free_pages(page, order));
        assert_eq!(mm.free_page_count(), before);
    });
}

/// A folio of either encoding is dissolved when its last reference goes, and leaves clean struct pages.
#[test]
fn folios_come_back_clean() {
    for &encoding in TailEncoding::ALL {
        Builder::new().config(|config| config.tails = encoding).boot(|mm, _| {
            let before = mm.free_page_count();
            let head = mm.alloc_pages(Order::PMD, PageKind::Anon).unwrap();
            head.prep_compound(PageKind::Anon, Order::PMD, encoding);
            head.set_mapping(7, 8);
            let another = head.get();
            mm.put_folio(head);
            assert_eq!(mm.free_page_count(), before - Order::PMD.pages());
            mm.put_folio(another);
            assert_eq!(mm.free_page_count(), before);
        });
    }
}

/// A split block is single pages, which are freed one by one; a split folio likewise.
#[test]
fn split_blocks_are_single_pages() {
    testkit::boot(|mm| {
        for folio in [false, true] {
            let before = mm.free_page_count();
            let page = mm.alloc_pages(order(4), KERNEL).unwrap();
            if folio {
                page.prep_compound(KERNEL, order(4), mm.config.tails);
            }
            let first = page.page();
            let singles: Vec<_> = mm.split_page(page, order(4)).collect();
            assert!(singles.iter().map(|single| single.page()).eq((0..16).map(|n| first.nth(n))));
            for single in singles {
                assert_eq!((single.kind(), single.order(), single.refcount()), (KERNEL, Order::PAGE, 1));
                assert_eq!(single.compound_info(), 0);
                mm.put_folio(single);
            }
            assert_eq!(mm.free_page_count(), before);
        }
    });
}

/// Somebody who took a speculative reference gives the block back when he drops it last.
#[test]
fn the_last_reference_gives_back() {
    testkit::boot(|mm| {
        let before = mm.free_page_count();
        let page = mm.alloc_pages(order(2), KERNEL).unwrap();
        let (view, speculative) = (page.page(), page.try_get().unwrap());
        mm.free_pages(page, order(2));
        assert_eq!(mm.free_page_count(), before - 4);
        mm.put_folio(speculative);
        assert_eq!(mm.free_page_count(), before);
        assert_eq!(view.try_get(), None, "a free page has no references to share");
    });
}

/// Wrong frees are stopped by a sentence that says what is wrong. They take an owner that does not exist, as only
/// this crate can make up.
mod wrong_frees {
    use super::*;

    fn provoke(order: Order, wrong: impl Fn(&Mm, PageRef)) {
        testkit::boot(|mm| {
            let page = mm.alloc_pages(order, KERNEL).unwrap();
            wrong(mm, page.into_raw());
        });
    }

    fn free(mm: &Mm, page: PageRef, order: Order) {
        mm.free_pages(FolioRef::from_raw(page), order);
    }

    /// A page that waits on a CPU's list.
    #[test]
    #[should_panic(expected = "cannot be freed: it is free already, or inside a block")]
    fn twice() {
        provoke(Order::PAGE, |mm, page| (0..2).for_each(|_| free(mm, page, Order::PAGE)));
    }
    /// A block that has merged.
    #[test]
    #[should_panic(expected = "cannot be freed: it is free already")]
    fn block_twice() {
        provoke(order(10), |mm, page| (0..2).for_each(|_| free(mm, page, order(10))));
    }
    /// Another order than it was given out with.
    #[test]
    #[should_panic(expected = "of order 3 freed as order 2")]
    fn other_order() {
        provoke(order(3), |mm, page| free(mm, page, order(2)));
    }
    /// A page inside a block.
    #[test]
    #[should_panic(expected = "cannot be freed: it is free already, or inside a block")]
    fn inside_a_block() {
        provoke(order(3), |mm, page| free(mm, page.nth(1), Order::PAGE));
    }
    /// A tail of a folio.
    #[test]
    #[should_panic(expected = "cannot be freed: it is a tail")]
    fn tail() {
        provoke(order(3), |mm, page| {
            page.prep_compound(KERNEL, order(3), mm.config.tails);
            mm.put_folio(FolioRef::from_raw(page.nth(5)));
        });
    }
    /// A page that was never the allocator's: an early table.
    #[test]
    #[should_panic(expected = "cannot be freed: it is reserved")]
    fn reserved() {
        provoke(Order::PAGE, |mm, _| free(mm, page_of(mm.kernel_root().pfn()), Order::PAGE));
    }
    /// A page that entries still map.
    #[test]
    #[should_panic(expected = "freed while 1 entries map it")]
    fn mapped() {
        provoke(Order::PAGE, |mm, page| {
            page.add_raw_mapcount(1);
            free(mm, page, Order::PAGE);
        });
    }
}

/// A huge page that cannot be had is not what somebody is killed for: it does not cover up the request that is.
#[test]
fn a_huge_page_is_no_shortage() {
    Builder::new().ram_mib(16).boot(|mm, _| {
        let blocks: Vec<_> =
            std::iter::from_fn(|| mm.alloc_pages(Order::PMD, PageKind::Kernel).ok()).collect();
        assert_eq!(mm.last_shortage(), Shortage { order: Order::PMD, kind: PageKind::Kernel });
        for kind in [PageKind::Anon, PageKind::ThpReserved] {
            assert!(mm.alloc_pages(Order::PMD, kind).is_err());
            assert_eq!(mm.last_shortage().kind, PageKind::Kernel);
        }
        blocks.into_iter().for_each(|block| mm.free_pages(block, Order::PMD));
    });
}
