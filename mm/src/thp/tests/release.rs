//! What becomes of a reservation when its range changes.

use super::*;
use crate::space::Advice;
use crate::thp::reclaim;

const READ: MapProt = MapProt::READ;

/// Populates pages 0..`n` of the first range, and lets `change` do what releases the reservation. The unused pages must
/// be free after it, and the pages that stay mapped must read as before.
fn released(n: u64, gone: std::ops::Range<u64>, change: impl FnOnce(&Site<'_>)) {
    with_site(threshold(512), |site| {
        site.store_all(0..n);
        let (free, tables) = (site.mm.free_page_count(), site.get(Counter::NrPageTable));
        change(site);
        site.check();
        let unmapped = (0..n).filter(|page| gone.contains(page)).count() as u64;
        let tables = tables - site.get(Counter::NrPageTable);
        assert_eq!(site.mm.free_page_count(), free + (RANGE_PAGES - n) + unmapped + tables);
        assert_eq!(site.get(Counter::NrThpReserved), 0);
        assert_eq!(site.get(Counter::ThpResBroken), 1);
        assert_eq!(site.get(Counter::NrAnon), n - unmapped);
        for page in (0..n).filter(|page| !gone.contains(page)) {
            assert_eq!(site.load(page), (word(page), 0));
        }
    });
}

/// munmap of one page of the range, of all of it, and of more.
#[test]
fn munmap_releases() {
    released(5, 2..3, |site| site.mm.munmap(&site.space, va(2).raw(), PAGE_SIZE).unwrap());
    released(5, 0..512, |site| site.mm.munmap(&site.space, BASE.raw(), RANGE_BYTES).unwrap());
    released(5, 100..900, |site| site.mm.munmap(&site.space, va(100).raw(), 800 * PAGE_SIZE).unwrap());
}

/// A very long range is released as well as a short one, though it is looked up in another way.
#[test]
fn munmap_of_a_terabyte_releases() {
    released(5, 0..512, |site| site.mm.munmap(&site.space, BASE.raw(), 1 << 40).unwrap());
}

/// MADV_DONTNEED of a populated page, and of an unpopulated one.
#[test]
fn dontneed_releases() {
    let dontneed = |page: u64| {
        move |site: &Site<'_>| {
            site.mm.madvise(&site.space, va(page).raw(), PAGE_SIZE, Advice::DontNeed).unwrap();
        }
    };
    released(5, 2..3, dontneed(2));
    released(5, 77..78, dontneed(77));
}

/// mprotect of a part: the two sides will differ.
#[test]
fn mprotect_of_a_part_releases() {
    released(5, 0..0, |site| site.mm.mprotect(&site.space, va(2).raw(), PAGE_SIZE, READ).unwrap());
}

/// MADV_NOHUGEPAGE: the user does not want it.
#[test]
fn nohugepage_releases() {
    released(5, 0..0, |site| {
        site.mm.madvise(&site.space, BASE.raw(), RANGE_BYTES, Advice::NoHugePage).unwrap();
    });
}

/// Memory pressure: the unused pages are free at once, and reported.
#[test]
fn pressure_releases() {
    released(5, 0..0, |site| assert_eq!(reclaim::drop_reservations(site.mm), RANGE_PAGES - 5));
    released(512, 0..0, |site| assert_eq!(reclaim::drop_reservations(site.mm), 0));
}

/// A page for a process, a table or a hugetlb folio comes out of the reservations when nothing else is left; kernel
/// memory and another huge page do not.
#[test]
fn allocations_reclaim() {
    with_site(threshold(512), |site| {
        let mm = site.mm;
        site.store_all((0..RANGES).map(|range| range * RANGE_PAGES));
        let take = |order, kind| mm.alloc_pages(order, kind);
        let kernel: Vec<_> = std::iter::from_fn(|| take(Order::PAGE, PageKind::Kernel).ok()).collect();
        assert_eq!(site.get(Counter::NrThpReserved), RANGES * (RANGE_PAGES - 1));
        assert!(take(Order::PMD, PageKind::ThpReserved).is_err());
        assert!(take(Order::PMD, PageKind::Anon).is_err());
        assert_eq!(site.get(Counter::NrThpReserved), RANGES * (RANGE_PAGES - 1));
        let page = take(Order::PAGE, PageKind::Anon).unwrap();
        assert_eq!(site.get(Counter::NrThpReserved), 0);
        assert!((0..RANGES).all(|range| site.load(range * RANGE_PAGES) == (word(range * RANGE_PAGES), 0)));
        mm.free_pages(page, Order::PAGE);
        kernel.into_iter().for_each(|page| mm.free_pages(page, Order::PAGE));
    });
}

/// mprotect of the whole range keeps the reservation, and it is promoted with the new rights.
#[test]
fn mprotect_of_all_keeps() {
    with_site(threshold(4), |site| {
        site.store_all(0..3);
        site.mm.mprotect(&site.space, BASE.raw(), RANGES * RANGE_BYTES, READ).unwrap();
        assert_eq!(site.get(Counter::NrThpReserved), RANGE_PAGES - 3);
        site.mm.thp.set_threshold(3).unwrap();
        crate::thp::promote::promote_range(site.mm, &site.space, BASE).unwrap();
        assert!(site.is_block(0));
        assert!(model::user_store(va(0), 1).is_err(), "a store through a read-only block");
        site.assert_contents(|page| page < 3);
        site.mm.mprotect(&site.space, BASE.raw(), RANGES * RANGE_BYTES, READ | MapProt::WRITE).unwrap();
        site.store(5);
    });
}

/// After a release the range goes on with small pages, since a new reservation could not be promoted; a range that was
/// emptied is reserved anew.
#[test]
fn after_a_release() {
    with_site(threshold(512), |site| {
        site.store_all(0..5);
        reclaim::drop_reservations(site.mm);
        site.store(5);
        assert_eq!(site.get(Counter::ThpResAlloc), 1);
        site.mm.madvise(&site.space, BASE.raw(), RANGE_BYTES, Advice::DontNeed).unwrap();
        site.store(5);
        assert_eq!(site.get(Counter::ThpResAlloc), 2);
        site.assert_contents(|page| page == 5);
    });
}

/// Pressure leaves alone what others hold: a page that somebody else references is freed when that one lets go.
#[test]
fn a_referenced_page_outlives_its_reservation() {
    with_site(threshold(512), |site| {
        site.store(0);
        let page = crate::page::page_of(site.leaf(0).unwrap().1.pfn().add(1));
        let held = page.try_get().unwrap();
        let free = site.mm.free_page_count();
        reclaim::drop_reservations(site.mm);
        assert_eq!(site.mm.free_page_count(), free + RANGE_PAGES - 2);
        site.mm.put_folio(held);
        assert_eq!(site.mm.free_page_count(), free + RANGE_PAGES - 1);
    });
}
