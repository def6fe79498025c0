//! When a range is reserved, and where its pages come from.

use arch::Pfn;

use super::*;
use crate::config::ThpMode;
use crate::page::PageRef;
use crate::space::range;
use crate::thp::reservation::{self, Take, Taken};

/// The first write reserves one block; every page of the range is page i of that block, in whatever order they come,
/// and the gauge counts what is left.
#[test]
fn pages_stand_in_their_places() {
    with_site(threshold(512), |site| {
        let order = [7, 0, 511, 64, 63, 300];
        for (taken, page) in (1..).zip(order) {
            site.store(page);
            let (level, pa) = site.leaf(page).unwrap();
            assert_eq!(level, Level::L3);
            assert_eq!(pa.raw() % RANGE_BYTES, page * PAGE_SIZE, "page {page}");
            assert_eq!(site.get(Counter::NrThpReserved), RANGE_PAGES - taken);
            site.check();
        }
        assert_eq!(site.get(Counter::ThpResAlloc), 1);
        let block = site.leaf(0).unwrap().1;
        assert!(order.iter().all(|&page| site.leaf(page).unwrap().1 == block.add(page * PAGE_SIZE)));
        site.assert_contents(|page| order.contains(&page));
    });
}

/// Each range has a reservation of its own.
#[test]
fn ranges_do_not_share() {
    with_site(threshold(512), |site| {
        site.store_all((0..RANGES).map(|range| range * RANGE_PAGES + range));
        assert_eq!(site.get(Counter::ThpResAlloc), RANGES);
        assert_eq!(site.get(Counter::NrThpReserved), RANGES * (RANGE_PAGES - 1));
    });
}

/// A read sees the page of zeros and reserves nothing; the write after it does.
#[test]
fn a_read_does_not_reserve() {
    with_site(threshold(512), |site| {
        assert_eq!(site.load(3), (0, 0));
        assert_eq!(site.get(Counter::ThpResAlloc), 0);
        site.store(3);
        assert_eq!(site.get(Counter::ThpResAlloc), 1);
        assert_eq!(site.load(3), (word(3), 0));
    });
}

/// A VMA that does not hold the whole aligned range gets small pages.
#[test]
fn a_range_that_does_not_fit_is_small() {
    with_site(threshold(512), |site| {
        site.mm.munmap(&site.space, va(511).raw(), PAGE_SIZE).unwrap();
        site.store(0);
        assert_eq!(site.get(Counter::ThpResAlloc), 0);
    });
}

/// A range that has a page from elsewhere is not reserved: it could never be promoted.
#[test]
fn a_range_with_other_pages_is_not_reserved() {
    with_site(threshold(512), |site| {
        site.mm.thp.set_mode(ThpMode::Never);
        site.store(3);
        site.mm.thp.set_mode(ThpMode::Reserve);
        site.store(4);
        assert_eq!(site.get(Counter::ThpResAlloc), 0);
        site.store(RANGE_PAGES);
        assert_eq!(site.get(Counter::ThpResAlloc), 1);
    });
}

/// Without a free block the fault falls back to a small page and the failure is counted.
#[test]
fn without_a_block_the_page_is_small() {
    with_site(threshold(512), |site| {
        let mm = site.mm;
        let blocks: Vec<_> =
            std::iter::from_fn(|| mm.alloc_pages(Order::PMD, PageKind::Kernel).ok()).collect();
        site.store(5);
        assert_eq!(site.get(Counter::ThpResAllocFailed), 1);
        assert_eq!(site.get(Counter::ThpResAlloc), 0);
        assert_eq!(site.load(5), (word(5), 0));
        blocks.into_iter().for_each(|block| mm.free_pages(block, Order::PMD));
    });
}

/// From every page of the block the reservation is found, from other pages it is not.
#[test]
fn a_page_leads_to_its_reservation() {
    with_site(threshold(512), |site| {
        site.store(9);
        let block = site.leaf(9).unwrap().1.pfn().align_down(Order::PMD);
        let found =
            |pfn: Pfn| site.mm.reservation_of(pfn).map(|record| (record.key().range, record.popmap()));
        let (range, map) = found(block).unwrap();
        assert_eq!(range, BASE);
        assert!(map.iter().eq([9]));
        assert!((1..RANGE_PAGES).all(|n| found(block.add(n)) == Some((range, map))));
        assert_eq!(found(block.add(RANGE_PAGES)), None);
        assert_eq!(found(site.space.root().pfn()), None);
    });
}

/// A page that is given back is reserved again; when no page is left the reservation goes.
#[test]
fn untake_undoes_take() {
    with_site(threshold(512), |site| {
        let free = site.mm.free_page_count();
        let take = |page| match reservation::take(site.mm, &site.space, va(page)) {
            Take::Page(taken) => taken,
            other => panic!("{other:?}"),
        };
        let (first, second) = (take(1), take(2));
        assert_eq!(site.get(Counter::NrThpReserved), RANGE_PAGES - 2);
        reservation::untake(site.mm, &site.space, first, va(1));
        assert_eq!(site.get(Counter::NrThpReserved), RANGE_PAGES - 1);
        assert_eq!(site.get(Counter::ThpResBroken), 0);
        reservation::untake(site.mm, &site.space, second, va(2));
        assert_eq!(site.get(Counter::NrThpReserved), 0);
        assert_eq!((site.get(Counter::ThpResBroken), site.get(Counter::ThpResFreed)), (0, 1));
        assert_eq!(site.mm.free_page_count(), free);
    });
}

/// A page that is given back after its reservation was released is freed.
#[test]
fn untake_after_a_release() {
    with_site(threshold(512), |site| {
        let free = site.mm.free_page_count();
        let Take::Page(taken) = reservation::take(site.mm, &site.space, va(1)) else { panic!() };
        assert_eq!(crate::thp::reclaim::drop_reservations(site.mm), RANGE_PAGES - 1);
        assert_eq!(site.mm.free_page_count(), free - 1);
        reservation::untake(site.mm, &site.space, taken, va(1));
        assert_eq!(site.mm.free_page_count(), free);
    });
}

/// Takes page 1 and has another vCPU ask for it too; when that one waits, `settle` decides. `expect` sees what the
/// other got, and which page it was.
fn while_another_waits(
    settle: impl FnOnce(&Site<'_>, Taken) + Send,
    expect: impl Fn(&Site<'_>, PageRef, Take) + Sync,
) {
    with_site(threshold(512), |site| {
        let (mm, space) = (site.mm, &site.space);
        site.store(0);
        let Take::Page(taken) = reservation::take(mm, space, va(1)) else { panic!() };
        let page = taken.page.page();
        let other = || expect(site, page, reservation::take(mm, space, va(1)));
        let own = || {
            while mm.thp.turnstile.waiting() == 0 {
                Machine::relax();
            }
            settle(site, taken);
        };
        crate::testkit::run_on_cpus(site.env, vec![Box::new(own), Box::new(other)]);
    });
}

/// A fault that wants a page which another has in hand gets it when that one gives it back.
#[test]
fn a_page_in_hand_is_waited_for() {
    let settle = |site: &Site<'_>, taken| reservation::untake(site.mm, &site.space, taken, va(1));
    while_another_waits(settle, |site, first, got| {
        let Take::Page(second) = got else { panic!("{got:?}") };
        assert_eq!(*second.page, first);
        reservation::untake(site.mm, &site.space, second, va(1));
    });
}

/// When the other makes the entry instead, the one who waited looks at the entry again.
#[test]
fn an_entry_that_is_made_ends_the_wait() {
    let settle = |site: &Site<'_>, taken: Taken| {
        let (mm, space) = (site.mm, &site.space);
        let vma = space.vma_at(va(1)).unwrap();
        taken.page.set_mapping(space.id, vma.index_of(va(1)));
        let leaf = range::leaf_for(mm, taken.page.pfn().phys(), Level::L3, vma.prot);
        let mut tree = space.ptl.lock();
        let entry = tree.entry(space.flusher(mm), va(1), Level::L3).unwrap();
        crate::mapcount::add(mm, &range::run_of(space, &vma, &entry, taken.page.page()));
        entry.make(leaf);
        drop(tree);
        space.add_anon(mm, 1);
        reservation::made(mm, space, &vma, taken, va(1));
    };
    while_another_waits(settle, |_, _, got| assert_eq!(got, Take::Raced));
}
