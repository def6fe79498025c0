//! The pool's numbers: growing, shrinking, promises.

use crate::common::{Variant, counts};
use arch::Order;
use arch::features::BbmLevel;
use mm::Mm;
use mm::config::{TailEncoding, VmemmapMap};
use mm::hugetlb::HugeSize;
use mm::hugetlb::{Counts, HugetlbError, reserve, unreserve};
use mm::hvo::{HvoError, Switch};
use mm::page::{FolioRef, PageKind};
use mm::stats::Counter;
use mm::testkit::{self, Builder, fail_every_allocation};

fn set_nr(mm: &Mm, n: u64) -> u64 {
    mm.hugetlb.set_nr(mm, HugeSize::M2, n).persistent
}

/// Takes single pages until none is left, not even of what is kept back for vmemmap.
fn hoard(mm: &Mm) -> Vec<FolioRef> {
    core::iter::from_fn(|| mm.alloc_pages(Order::PAGE, PageKind::Vmemmap).ok()).collect()
}

/// The pool grows and shrinks to what it is told, optimised on the way in; every page comes back but those
/// that HVO keeps, and a second time exactly.
#[test]
fn grows_and_shrinks() {
    for variant in Variant::at(BbmLevel::Level2) {
        variant.builder().boot(|mm, _| {
            let free = mm.free_page_count();
            for kept in [variant.kept_pages(); 2] {
                assert_eq!(set_nr(mm, 5), 5);
                assert_eq!(mm.hugetlb.counts(HugeSize::M2), counts(5, 5, 0));
                assert_eq!(mm.stats.get(Counter::NrHvoOptimized), 5);
                assert_eq!(mm.free_page_count(), free - 5 * 512 + 5 * 7 - kept);
                assert_eq!(set_nr(mm, 2), 2);
                assert_eq!(set_nr(mm, 0), 0);
                assert_eq!(mm.stats.get(Counter::NrVmemmapFreed), 0);
                assert_eq!(mm.free_page_count(), free - kept);
            }
        });
    }
}

/// A pool larger than memory gets what there is, and gives it all back.
#[test]
fn larger_than_memory() {
    Builder::new().ram_mib(64).boot(|mm, _| {
        let free = mm.free_page_count();
        let nr = set_nr(mm, u64::MAX);
        assert!((20..32).contains(&nr), "{nr} of at most 32");
        assert_eq!(mm.hugetlb.counts(HugeSize::M2), counts(nr, nr, 0));
        assert!(mm.alloc_pages(Order::PMD, PageKind::Kernel).is_err());
        assert_eq!(set_nr(mm, 0), 0);
        assert_eq!(mm.free_page_count(), free - mm.hvo.kept_pages(mm));
    });
}

/// Where restore cannot get its pages, the folios stay optimised and in the pool, the caller is told, and it
/// works once there is memory again.
#[test]
fn restore_without_memory_leaves_the_pool_as_it_was() {
    for &tails in TailEncoding::ALL {
        Builder::new().ram_mib(32).config(|config| config.tails = tails).boot(|mm, _| {
            assert_eq!(set_nr(mm, 3), 3);
            let hoard = hoard(mm);
            let shrunk = mm.hugetlb.set_nr(mm, HugeSize::M2, 0);
            assert_eq!((shrunk.persistent, shrunk.unrestored), (3, Some(HvoError::OutOfMemory)));
            assert_eq!(mm.hugetlb.counts(HugeSize::M2), counts(3, 3, 0));
            assert_eq!(mm.stats.get(Counter::NrHvoOptimized), 3);
            assert!(mm.stats.get(Counter::HvoRestoreFailed) > 0);
            hoard.into_iter().for_each(|page| mm.free_pages(page, Order::PAGE));
            mm.check_all().unwrap();
            let shrunk = mm.hugetlb.set_nr(mm, HugeSize::M2, 0);
            assert_eq!((shrunk.persistent, shrunk.unrestored), (0, None));
        });
    }
}

/// Seven pages are enough to shrink the whole pool: each folio that is freed pays for the next.
#[test]
fn one_restored_folio_pays_for_the_next() {
    Builder::new().ram_mib(32).boot(|mm, _| {
        assert_eq!(set_nr(mm, 6), 6);
        let mut hoard = hoard(mm);
        for page in hoard.drain(..7) {
            mm.free_pages(page, Order::PAGE);
        }
        let shrunk = mm.hugetlb.set_nr(mm, HugeSize::M2, 0);
        assert_eq!((shrunk.persistent, shrunk.unrestored), (0, None));
        hoard.into_iter().for_each(|page| mm.free_pages(page, Order::PAGE));
    });
}

/// The switch decides for folios that enter the pool from then on; a pool may be mixed, and shrinks all the
/// same.
#[test]
fn a_pool_may_be_mixed() {
    testkit::boot(|mm| {
        mm.hvo.set_switch(mm, Switch::Off).unwrap();
        assert_eq!(set_nr(mm, 3), 3);
        assert_eq!(mm.stats.get(Counter::NrHvoOptimized), 0);
        mm.hvo.set_switch(mm, Switch::On).unwrap();
        assert_eq!(set_nr(mm, 5), 5);
        assert_eq!(mm.stats.get(Counter::NrHvoOptimized), 2);
        mm.check_all().unwrap();
        assert_eq!(set_nr(mm, 0), 0);
    });
}

/// What is free in the pool can be restored and optimised where it is, but for what is promised; the numbers
/// stay.
#[test]
fn free_folios_are_treated_in_place() {
    Builder::new().boot(|mm, _| {
        assert_eq!(set_nr(mm, 20), 20);
        assert_eq!(reserve(mm, HugeSize::M2, 2), Ok(()));
        let restored = mm.hugetlb.restore_free(mm);
        assert_eq!((restored.done, restored.first_error), (20, None));
        assert_eq!(mm.stats.get(Counter::NrHvoOptimized), 0);
        assert_eq!(mm.hugetlb.counts(HugeSize::M2), counts(20, 20, 2));
        assert_eq!(reserve(mm, HugeSize::M2, 18), Ok(()));
        assert_eq!(mm.hugetlb.optimize_free(mm).done, 0);
        unreserve(mm, HugeSize::M2, 18);
        let optimized = mm.hugetlb.optimize_free(mm);
        assert_eq!((optimized.done, optimized.first_error), (20, None));
        assert_eq!(mm.hugetlb.counts(HugeSize::M2), counts(20, 20, 2));
        unreserve(mm, HugeSize::M2, 2);
        mm.check_all().unwrap();
        assert_eq!(set_nr(mm, 0), 0);
    });
}

/// Promises are made of what is free and not promised, all or none; what is promised when the pool shrinks is surplus,
/// and leaves when it is promised no more.
#[test]
fn promises_are_kept() {
    testkit::boot(|mm| {
        assert_eq!(reserve(mm, HugeSize::M2, 1), Err(HugetlbError::NotEnough { asked: 1, available: 0 }));
        assert_eq!(set_nr(mm, 4), 4);
        assert_eq!(reserve(mm, HugeSize::M2, 3), Ok(()));
        assert_eq!(reserve(mm, HugeSize::M2, 2), Err(HugetlbError::NotEnough { asked: 2, available: 1 }));
        assert_eq!(
            reserve(mm, HugeSize::M2, u64::MAX),
            Err(HugetlbError::NotEnough { asked: u64::MAX, available: 1 })
        );
        assert_eq!(mm.hugetlb.counts(HugeSize::M2), counts(4, 4, 3));
        assert_eq!(set_nr(mm, 0), 0);
        assert_eq!(mm.hugetlb.counts(HugeSize::M2), Counts { surplus: 3, ..counts(3, 3, 3) });
        unreserve(mm, HugeSize::M2, 3);
        assert_eq!(mm.hugetlb.counts(HugeSize::M2), counts(0, 0, 0));
        assert_eq!(set_nr(mm, 0), 0);
    });
}

/// Whichever allocation of growing or shrinking fails, every folio is in the pool or free, and no page is
/// lost.
#[test]
fn every_allocation_may_fail() {
    for variant in Variant::defaults() {
        let failed = fail_every_allocation(
            &variant.builder(),
            |_| (),
            |mm, ()| {
                let grown = mm.hugetlb.set_nr(mm, HugeSize::M2, 2);
                mm.check_all().unwrap();
                let shrunk = mm.hugetlb.set_nr(mm, HugeSize::M2, 0);
                assert_eq!(mm.hugetlb.set_nr(mm, HugeSize::M2, 0).persistent, 0);
                let whole = grown.persistent == 2 && grown.unoptimized.is_none() && shrunk.persistent == 0;
                if whole { Ok(()) } else { Err((grown, shrunk)) }
            },
        );
        // The folios, and 7 pages of a restore for each; each way their lists of frames, the lists of plans and of
        // runs; and those of blocks to be split.
        let lists = 2 * (2 + 2) + if variant.vmemmap == VmemmapMap::Pmd { 2 } else { 0 };
        assert_eq!(failed, 2 * (1 + 7) + lists + variant.kept_pages(), "{variant:?}");
    }
}
