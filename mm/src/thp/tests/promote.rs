//! Promotion in place: what it keeps, what it needs, when it gives up.

use super::*;
use crate::page::page_of;
use crate::steps::StepKind;
use crate::thp::promote::{PromoteError, promote_range};
use crate::thp::reservation::{self, Take};
use crate::thp::{promoter, reclaim};

/// At the threshold, not before, the range is queued; promotion keeps what was written, in the same frames, and what
/// nobody had written reads as zeros, though the frames held junk.
#[test]
fn contents_and_frames_stay() {
    for n in [2, 3, 256, 511, 512] {
        with_site(threshold(n), |site| {
            let page = |k: u64| k * 37 % RANGE_PAGES;
            site.store_all((0..n - 1).map(page));
            assert_eq!(promoter::backlog(site.mm), 0, "before the threshold of {n}");
            site.store(page(n - 1));
            assert_eq!(promoter::backlog(site.mm), 1, "at the threshold of {n}");
            let block = site.leaf(page(0)).unwrap().1.pfn().align_down(Order::PMD);
            assert_eq!(site.drain(), 1);
            assert_eq!(site.leaf(0), Some((Level::L2, block.phys())));
            let written: Vec<_> = (0..n).map(page).collect();
            site.assert_contents(|page| written.contains(&page));
            assert_eq!(site.get(Counter::ResPagesCollapsed), 1);
            assert_eq!(site.get(Counter::ResPagesFilled), RANGE_PAGES - n);
            assert_eq!(site.get(Counter::ResCollapseFailed), 0);
            assert_eq!(site.get(Counter::NrThpReserved), 0);
            assert_eq!((site.get(Counter::NrAnon), site.get(Counter::NrAnonThp)), (RANGE_PAGES, 1));
            site.check();
        });
    }
}

/// Promotion announces its four steps in order, and gives back exactly the table.
#[test]
fn four_steps_and_one_table() {
    with_site(threshold(2), |site| {
        site.store_all(0..2);
        site.env.clear_steps();
        let (free, tables) = (site.mm.free_page_count(), site.get(Counter::NrPageTable));
        assert_eq!(site.drain(), 1);
        let kinds: Vec<_> = site.env.steps().iter().map(|step| step.kind).collect();
        use StepKind::{PromoteBegin, PromoteBreak, PromoteFlush, PromoteMake};
        assert_eq!(kinds, [PromoteBegin, PromoteBreak, PromoteFlush, PromoteMake]);
        assert_eq!(site.mm.free_page_count(), free + 1);
        assert_eq!(site.get(Counter::NrPageTable), tables - 1);
    });
}

/// The block is writable as the pages were, from every vCPU, also where a TLB held the old entries.
#[test]
fn other_cpus_see_the_block() {
    with_site(threshold(2), |site| {
        let (mm, space) = (site.mm, &site.space);
        site.store_all(0..2);
        let as_cpu_1 = |f: &(dyn Fn() + Sync)| model::run_as(arch::CpuId::new(1), f);
        as_cpu_1(&|| {
            mm.activate_space(Some(space));
            assert_eq!(model::user_load(va(1)), Ok(word(1)));
        });
        assert_eq!(site.drain(), 1);
        as_cpu_1(&|| {
            model::user_store(va(1), 1).unwrap();
            model::user_store(va(200), 200).unwrap();
            mm.activate_space(None);
        });
        assert_eq!((site.load(1).0, site.load(200).0), (1, 200));
    });
}

/// Entries of the page of zeros, from reads, do not stop a promotion; they become pages of the block.
#[test]
fn pages_that_were_only_read_are_filled() {
    with_site(threshold(3), |site| {
        site.store_all(0..2);
        assert_eq!(site.load(100), (0, 0));
        site.store(2);
        assert_eq!(site.drain(), 1);
        site.assert_contents(|page| page < 3);
        site.store(100);
        assert_eq!(site.load(100), (word(100), 0));
    });
}

/// A range that was only read is never promoted, whatever the threshold.
#[test]
fn zeros_alone_are_not_promoted() {
    with_site(threshold(2), |site| {
        (0..RANGE_PAGES).for_each(|page| assert_eq!(site.load(page), (0, 0)));
        assert_eq!(promoter::backlog(site.mm), 0);
        assert_eq!(promote_range(site.mm, &site.space, BASE), Err(PromoteError::NoReservation));
        assert_eq!(site.get(Counter::NrAnon), 0);
    });
}

/// One reference more to any page, populated or not, stops the promotion and leaves everything as it was; when it is
/// gone the queued request succeeds.
#[test]
fn a_referenced_page_stops_it() {
    for page in [0, 1, 2, 256, 510, 511] {
        with_site(threshold(3), |site| {
            site.store_all([0, 1, 511]);
            let block = site.leaf(0).unwrap().1.pfn();
            assert!(page_of(block.add(300)).try_get().is_none(), "a reference inside of a piece");
            let held = page_of(block.add(page)).try_get().unwrap();
            for attempt in 1..=3 {
                assert_eq!(site.drain(), 0);
                assert_eq!(site.get(Counter::ResCollapseFailed), attempt);
                assert_eq!(promoter::backlog(site.mm), 1);
                assert!(!site.is_block(0));
                assert_eq!(site.get(Counter::NrThpReserved), RANGE_PAGES - 3);
            }
            let error = promote_range(site.mm, &site.space, BASE);
            assert_eq!(error, Err(PromoteError::Referenced(held.pfn())));
            site.mm.put_folio(held);
            site.check();
            assert_eq!(site.drain(), 1);
            site.assert_contents(|page| [0, 1, 511].contains(&page));
        });
    }
}

/// The same where nothing is to be filled, and so nothing was looked at before the exchange.
#[test]
fn a_referenced_page_stops_a_full_range() {
    for page in [0, 311, 511] {
        with_site(threshold(512), |site| {
            site.store_all(0..RANGE_PAGES);
            let held = page_of(site.leaf(page).unwrap().1.pfn()).try_get().unwrap();
            assert_eq!(site.drain(), 0);
            assert_eq!((held.refcount(), site.get(Counter::ResCollapseFailed)), (3, 1));
            site.mm.put_folio(held);
            site.check();
            assert_eq!(site.drain(), 1);
            site.assert_contents(|_| true);
        });
    }
}

/// A full range of which a fault has one page in hand still: its entry is missing.
#[test]
fn a_fault_under_way_stops_a_full_range() {
    with_site(threshold(512), |site| {
        site.store_all(0..RANGE_PAGES - 1);
        let Take::Page(taken) = reservation::take(site.mm, &site.space, va(511)) else { panic!() };
        let error = promote_range(site.mm, &site.space, BASE);
        assert_eq!(error, Err(PromoteError::InProgress(va(511))));
        reservation::untake(site.mm, &site.space, taken, va(511));
        site.store(511);
        assert_eq!(site.drain(), 1);
    });
}

/// A request that keeps failing is forgotten, and the next fault of the range submits it again.
#[test]
fn a_hopeless_request_is_forgotten() {
    with_site(threshold(3), |site| {
        site.store_all(0..3);
        let held = page_of(site.leaf(0).unwrap().1.pfn()).get();
        (0..promoter::MOST_ATTEMPTS).for_each(|_| assert_eq!(site.drain(), 0));
        assert_eq!(promoter::backlog(site.mm), 0);
        site.mm.put_folio(held);
        assert_eq!(site.drain(), 0);
        site.store(3);
        assert_eq!(site.drain(), 1);
    });
}

/// A page that a fault has in hand stops it until the fault is through.
#[test]
fn a_fault_under_way_stops_it() {
    with_site(threshold(3), |site| {
        site.store_all(0..2);
        let Take::Page(taken) = reservation::take(site.mm, &site.space, va(9)) else { panic!() };
        let error = promote_range(site.mm, &site.space, BASE);
        assert_eq!(error, Err(PromoteError::InProgress(va(9))));
        reservation::untake(site.mm, &site.space, taken, va(9));
        assert_eq!(promote_range(site.mm, &site.space, BASE), Err(PromoteError::BelowThreshold(2)));
        site.store(9);
        assert_eq!(site.drain(), 1);
    });
}

/// Without VMA, without reservation, below the threshold: each is said, and nothing is done.
#[test]
fn what_cannot_be_promoted_is_said() {
    with_site(threshold(3), |site| {
        let promote = |va| promote_range(site.mm, &site.space, va);
        assert_eq!(promote(va(RANGES * RANGE_PAGES)), Err(PromoteError::Vma));
        assert_eq!(promote(BASE), Err(PromoteError::NoReservation));
        site.store_all(0..3);
        site.mm.thp.set_threshold(4).unwrap();
        assert_eq!(site.drain(), 0);
        assert_eq!(promote(BASE), Err(PromoteError::BelowThreshold(3)));
        assert_eq!(site.get(Counter::ResCollapseFailed), 0);
        assert_eq!(promoter::backlog(site.mm), 0);
        reclaim::drop_reservations(site.mm);
        assert_eq!(promote(BASE), Err(PromoteError::NoReservation));
        site.assert_contents(|page| page < 3);
    });
}

/// A page from elsewhere, mapped by a fault that had looked before the reservation was made, makes it useless: it is
/// released.
#[test]
fn a_foreign_page_ends_the_reservation() {
    with_site(threshold(3), |site| {
        site.store_all(0..2);
        site.space.reservations.overlook();
        site.store(50);
        site.store_all([RANGE_PAGES, 2]);
        assert_eq!(site.drain(), 0);
        assert_eq!(site.get(Counter::ResCollapseFailed), 1);
        assert_eq!(site.get(Counter::ResPagesCollapsed), 0);
        assert_eq!(site.get(Counter::ThpResBroken), 1);
        site.assert_contents(|page| page < 3 || page == 50);
    });
}

/// A range is queued once, however many faults pass the threshold; the space's end empties the queue.
#[test]
fn the_queue_has_each_range_once() {
    with_site(threshold(2), |site| {
        site.store_all(0..9);
        site.store_all(RANGE_PAGES..RANGE_PAGES + 9);
        assert_eq!(promoter::backlog(site.mm), 2);
        let other = site.mm.new_space().unwrap();
        promoter::cancel(site.mm, &other);
        assert_eq!(promoter::backlog(site.mm), 2);
        site.mm.munmap(&site.space, BASE.raw(), RANGES * RANGE_BYTES).unwrap();
        promoter::cancel(site.mm, &site.space);
        assert_eq!(promoter::backlog(site.mm), 0);
        assert_eq!(
            KArc::owners(&site.space),
            3,
            "the shares of the test, the list of live spaces, and the lineage"
        );
        site.mm.destroy_space(&other);
    });
}

/// A range without a reservation is not queued.
#[test]
fn only_reservations_are_queued() {
    with_site(threshold(2), |site| {
        promoter::submit(site.mm, &site.space, BASE);
        assert_eq!(promoter::backlog(site.mm), 0);
        assert_eq!(
            KArc::owners(&site.space),
            3,
            "the shares of the test, the list of live spaces, and the lineage"
        );
    });
}

/// More ranges than the queue first has room for are all promoted, first come first served; at the space's end those
/// that still wait are forgotten.
#[test]
fn the_queue_grows() {
    with_site(threshold(2).ram_mib(256), |site| {
        let ranges = 90;
        let far = BASE.add(1 << 30);
        let request = MmapRequest::anonymous(ranges * RANGE_BYTES, MapProt::READ | MapProt::WRITE);
        site.mm.mmap(&site.space, &request.fixed(far.raw())).unwrap();
        let first = far.offset_from(BASE) / PAGE_SIZE;
        let fill = |range: u64| site.store_all((0..2).map(|page| first + range * RANGE_PAGES + page));
        (0..40).for_each(fill);
        assert_eq!(promoter::backlog(site.mm), 40);
        assert_eq!(site.drain(), 40);
        (40..ranges).for_each(fill);
        assert_eq!(promoter::backlog(site.mm), ranges as usize - 40);
        assert!((0..ranges).all(|range| site.is_block(first + range * RANGE_PAGES) == (range < 40)));
    });
}

/// Without memory for the queue the range is not promoted now; the next fault of the range asks again.
#[test]
fn a_request_that_finds_no_memory_is_made_again() {
    with_site(threshold(2), |site| {
        site.store(0);
        crate::kalloc::inject::fail_nth(1);
        site.store(1);
        assert!(crate::kalloc::inject::disarm(), "the queue did not ask for memory");
        assert_eq!(promoter::backlog(site.mm), 0);
        site.store(2);
        assert_eq!(promoter::backlog(site.mm), 1);
        assert_eq!(site.drain(), 1);
    });
}

/// The thread sleeps until a range is submitted.
#[test]
fn the_thread_wakes_up() {
    with_site(threshold(2), |site| {
        let (mm, space) = (site.mm, &site.space);
        let thread = || {
            promoter::wait(mm);
            while promoter::drain(mm) == 0 {
                Machine::relax();
            }
        };
        let user = || {
            mm.activate_space(Some(space));
            site.store_all(0..2);
            mm.activate_space(None);
        };
        crate::testkit::run_on_cpus(site.env, vec![Box::new(thread), Box::new(user)]);
        mm.activate_space(Some(space));
        assert!(site.is_block(0));
        site.assert_contents(|page| page < 2);
    });
}

/// What had to be given up for a passing reason is tried again though nothing more is submitted.
#[test]
fn the_thread_tries_again() {
    with_site(threshold(2), |site| {
        site.store_all(0..2);
        let held = page_of(site.leaf(1).unwrap().1.pfn()).try_get().unwrap();
        assert_eq!((site.drain(), promoter::backlog(site.mm)), (0, 1));
        site.mm.put_folio(held);
        promoter::wait(site.mm);
        assert_eq!(site.drain(), 1);
    });
}
