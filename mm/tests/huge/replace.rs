//! A range that is to become free, with free folios of the hugetlb pools in it.

use std::cell::Cell;

use arch::contract::Cpu;
use arch::model::{Job, MachineDesc, run_on_cpus};
use arch::{Machine, Order, Pfn};
use mm::Mm;
use mm::config::TailEncoding;
use mm::hugetlb::{HugeSize, reserve, unreserve};
use mm::page::{Flags, FolioRef, PageKind, page_of};
use mm::rmap::{ContigError, Refused};
use mm::space::MmapRequest;
use mm::stats::Counter;
use mm::testkit::{Builder, fail_every_allocation};

use crate::common::{RW, counts, flags, grow};

const SIZES: [HugeSize; 2] = [HugeSize::K64, HugeSize::M2];

/// The heads of all hugetlb folios, in the order of their frames.
fn heads(mm: &Mm) -> Vec<Pfn> {
    let all = mm.ram().iter().flat_map(|bank| bank.iter());
    all.filter(|&pfn| {
        let page = page_of(pfn);
        page.kind() == PageKind::Hugetlb
            && page.flags().contains(Flags::HEAD)
            && page.head(mm.config.tails) == page
    })
    .collect()
}

fn take(mm: &Mm, at: Pfn, order: Order) -> Result<FolioRef, ContigError> {
    mm.alloc_contig_at(at.align_down(order), order, PageKind::Kernel)
}

/// A range with free folios of a pool is had, and the pool is as large as before, elsewhere; all or a part of a folio
/// lies in it, promised or not, and the promises are kept.
#[test]
fn free_folios_make_way() {
    for size in SIZES {
        for order in [3, 9, 10].map(Order::new) {
            for &tails in TailEncoding::ALL {
                for promised in [0, 3] {
                    Builder::new().ram_mib(32).config(|config| config.tails = tails).boot(|mm, _| {
                        grow(mm, size, 3);
                        let space = mm.new_space().unwrap();
                        let huge = flags(size);
                        let request = MmapRequest::anonymous(3 * size.bytes(), RW);
                        let start = (promised != 0).then(|| mm.mmap(&space, &request.with(huge)).unwrap());
                        let at = heads(mm)[1];
                        let block =
                            take(mm, at, order).unwrap_or_else(|why| panic!("{size} {order:?}: {why}"));
                        assert_eq!(mm.hugetlb.counts(size), counts(3, 3, promised), "{size}");
                        let range = at.align_down(order).raw()..at.align_down(order).raw() + order.pages();
                        assert!(
                            heads(mm).iter().all(|head| !range.contains(&head.raw())),
                            "{size} {order:?}"
                        );
                        mm.check_all().unwrap();
                        mm.free_pages(block, order);
                        for n in start.iter().flat_map(|start| (0..3).map(|n| start.add(n * size.bytes()))) {
                            mm.write_user(&space, n, &[1]).unwrap();
                        }
                        mm.destroy_space(&space);
                        grow(mm, size, 0);
                    });
                }
            }
        }
    }
}

/// Where there is no memory for another folio the range is refused, and pool, promises and memory are as before.
#[test]
fn without_memory_for_another_the_folio_stays() {
    Builder::new().ram_mib(32).boot(|mm, _| {
        let size = HugeSize::M2;
        grow(mm, size, 2);
        reserve(mm, size, 2).unwrap();
        let at = heads(mm)[0];
        let blocks: Vec<_> =
            core::iter::from_fn(|| mm.alloc_pages(Order::PMD, PageKind::Kernel).ok()).collect();
        let free = mm.free_page_count();
        let why = take(mm, at, Order::new(4)).unwrap_err();
        assert_eq!(why, ContigError::InUse(at, Refused::Memory));
        assert_eq!(mm.hugetlb.counts(size), counts(2, 2, 2));
        assert!(heads(mm).contains(&at));
        assert_eq!(mm.free_page_count(), free);
        unreserve(mm, size, 2);
        mm.check_all().unwrap();
        blocks.into_iter().for_each(|block| mm.free_pages(block, Order::PMD));
        let block = take(mm, at, Order::new(4)).unwrap();
        mm.free_pages(block, Order::new(4));
        grow(mm, size, 0);
    });
}

/// A folio larger than any block of the buddy allocator stays where it is.
#[test]
fn gigantic_folios_stay() {
    Builder::new().ram_mib(256).boot(|mm, _| {
        grow(mm, HugeSize::M32, 1);
        let at = heads(mm)[0];
        assert_eq!(take(mm, at, Order::PMD).unwrap_err(), ContigError::Fixed(at));
        assert_eq!(mm.hugetlb.counts(HugeSize::M32), counts(1, 1, 0));
        grow(mm, HugeSize::M32, 0);
    });
}

/// Whichever allocation fails, the pool has its folios and its promises, and no page is lost; what could not be
/// restored goes with the next.
#[test]
fn every_allocation_may_fail() {
    for &tails in TailEncoding::ALL {
        let machine = Builder::new().ram_mib(32).config(|config| config.tails = tails);
        let setup = |mm: &Mm| grow(mm, HugeSize::M2, 2);
        let failed = fail_every_allocation(&machine, setup, |mm, ()| {
            let taken = take(mm, heads(mm)[0], Order::PMD);
            mm.check_all().unwrap();
            assert_eq!(mm.hugetlb.counts(HugeSize::M2), counts(2, 2, 0));
            let result = taken.map(|block| mm.free_pages(block, Order::PMD));
            grow(mm, HugeSize::M2, 0);
            result
        });
        assert!(failed >= 8, "{failed}: another folio, seven struct pages");
    }
}

/// One takes ranges with folios of the pool, one resizes and divides, one promises and touches: nothing is lost.
#[test]
fn ranges_are_taken_while_the_pool_is_used() {
    let taken = Cell::new(0);
    for seed in 0..20 {
        let seeded = |desc: &mut MachineDesc| desc.seed = seed;
        Builder::new().ram_mib(32).cpus(3).machine(seeded).boot(|mm, _| {
            let size = HugeSize::M2;
            grow(mm, size, 4);
            let ranges = heads(mm);
            let space = &mm.new_space().unwrap();
            let huge = flags(size);
            let request = MmapRequest::anonymous(2 * size.bytes(), RW).with(huge);
            let touch: Job<'_> = Box::new(move || {
                for _ in 0..4 {
                    let Ok(start) = mm.mmap(space, &request) else { continue };
                    for n in [0, 1] {
                        mm.write_user(space, start.add(n * size.bytes()), &[1]).unwrap();
                        Machine::relax();
                    }
                    mm.munmap(space, start.raw(), 2 * size.bytes()).unwrap();
                }
            });
            let resize: Job<'_> = Box::new(move || {
                for n in [3, 5, 2] {
                    let _ = mm.hugetlb.set_nr(mm, size, n);
                    let _ = mm.hugetlb.demote(mm, size, 1);
                    Machine::relax();
                }
            });
            let isolate: Job<'_> = Box::new(move || {
                for at in ranges {
                    if let Ok(block) = take(mm, at, Order::PMD) {
                        mm.free_pages(block, Order::PMD);
                    }
                }
            });
            run_on_cpus(vec![touch, resize, isolate]);
            mm.check_all().unwrap_or_else(|wrong| panic!("seed {seed}: {wrong}"));
            taken.set(taken.get() + mm.stats.get(Counter::AllocContigSuccess));
            mm.destroy_space(space);
            for size in SIZES {
                grow(mm, size, 0);
                assert_eq!(mm.hugetlb.counts(size), counts(0, 0, 0), "seed {seed}");
            }
        });
    }
    assert!(taken.get() > 20, "{} ranges taken", taken.get());
}
