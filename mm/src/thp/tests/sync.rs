//! `promote=sync`: the fault that reaches the threshold promotes before it returns.

use super::*;
use crate::config::Promote;
use crate::kalloc::inject::{self, Failing};
use crate::page::page_of;
use crate::thp::promoter::MOST_ATTEMPTS;
use crate::thp::reclaim;
use crate::thp::reservation::{self, Take};

fn sync(pages: u64) -> Builder {
    threshold(pages).config(|config| config.promote = Promote::Sync)
}

/// Before the threshold nothing, with the page that reaches it the block, and nobody else has anything to do; what was
/// written is kept, in its frames, and what was not reads as zeros.
#[test]
fn the_fault_that_reaches_the_threshold_promotes() {
    for n in [2, 3, 256, 511, 512] {
        with_site(sync(n), |site| {
            let page = |k: u64| k * 37 % RANGE_PAGES;
            site.store_all((0..n - 1).map(page));
            let block = site.leaf(page(0)).unwrap().1.pfn().align_down(Order::PMD);
            assert!(!site.is_block(0), "before the threshold of {n}");
            site.store(page(n - 1));
            assert_eq!(site.leaf(0), Some((Level::L2, block.phys())), "at the threshold of {n}");
            assert_eq!((promoter::backlog(site.mm), site.drain()), (0, 0));
            let written: Vec<_> = (0..n).map(page).collect();
            site.assert_contents(|page| written.contains(&page));
            assert_eq!(
                [Counter::ResPagesCollapsed, Counter::ResPagesCollapsedSync].map(|c| site.get(c)),
                [1; 2]
            );
            assert_eq!(site.get(Counter::ResPagesFilled), RANGE_PAGES - n);
            assert_eq!((site.get(Counter::ResCollapseFailed), site.get(Counter::NrThpReserved)), (0, 0));
        });
    }
}

/// With `promote=async` the same fault leaves the range to the promoter; the choice holds from the next fault on.
#[test]
fn the_choice_is_changed_at_run_time() {
    with_site(threshold(2), |site| {
        site.store_all(0..2);
        assert_eq!((site.is_block(0), promoter::backlog(site.mm)), (false, 1));
        site.mm.thp.set_promote(Promote::Sync);
        site.store_all(RANGE_PAGES..RANGE_PAGES + 2);
        assert_eq!((site.is_block(RANGE_PAGES), promoter::backlog(site.mm)), (true, 1));
        assert_eq!(site.drain(), 1);
        assert_eq!((site.get(Counter::ResPagesCollapsed), site.get(Counter::ResPagesCollapsedSync)), (2, 1));
    });
}

/// A reference too many to any page: the fault succeeds, the range is as it was, and the promoter has it. When the
/// reference is gone the promoter finishes.
#[test]
fn a_referenced_page_leaves_it_to_the_promoter() {
    for (n, page) in [(3, 1), (3, 256), (512, 511), (512, 0)] {
        with_site(sync(n), |site| {
            site.store_all(0..n - 1);
            let block = site.leaf(0).unwrap().1.pfn();
            let held = page_of(block.add(page)).try_get().unwrap();
            site.store(n - 1);
            assert_eq!((site.is_block(0), promoter::backlog(site.mm)), (false, 1), "{n}, {page}");
            assert_eq!(
                (site.get(Counter::ResCollapseFailed), site.get(Counter::NrThpReserved)),
                (1, RANGE_PAGES - n)
            );
            site.mm.put_folio(held);
            site.check();
            assert_eq!(site.drain(), 1);
            site.assert_contents(|page| page < n);
            assert_eq!(site.get(Counter::ResPagesCollapsedSync), 0);
        });
    }
}

/// Another fault has a page in hand: likewise.
#[test]
fn a_fault_under_way_leaves_it_to_the_promoter() {
    with_site(sync(3), |site| {
        site.store(0);
        let Take::Page(taken) = reservation::take(site.mm, &site.space, va(9)) else { panic!() };
        site.store(1);
        assert_eq!((site.is_block(0), promoter::backlog(site.mm)), (false, 1));
        reservation::untake(site.mm, &site.space, taken, va(9));
        assert_eq!(site.drain(), 0, "two pages are fewer than three");
        site.store(9);
        assert!(site.is_block(0));
    });
}

/// Only the fault that reaches the threshold tries. Later ones, of a range that the promoter has given up, tell the
/// promoter, and cost what any fault does.
#[test]
fn later_faults_do_not_try_again() {
    with_site(sync(3), |site| {
        site.store_all(0..2);
        let held = page_of(site.leaf(0).unwrap().1.pfn()).get();
        site.store(2);
        (0..MOST_ATTEMPTS).for_each(|_| assert_eq!(site.drain(), 0));
        assert_eq!(promoter::backlog(site.mm), 0);
        site.mm.put_folio(held);
        let tried = site.get(Counter::ResCollapseFailed);
        site.store(3);
        assert!(!site.is_block(0));
        assert_eq!((site.get(Counter::ResCollapseFailed), promoter::backlog(site.mm)), (tried, 1));
        assert_eq!(site.drain(), 1);
    });
}

/// A range that lost its reservation, was forbidden huge pages, or asks for more pages by now is left alone, and nobody
/// is told of it.
#[test]
fn what_cannot_be_promoted_is_left_alone() {
    with_site(sync(2), |site| {
        let (mm, space) = (site.mm, &site.space);
        let vma = space.vma_at(BASE).unwrap();
        site.store(0);
        reclaim::drop_reservations(mm);
        promoter::promote_now(mm, space, &vma, BASE);
        site.store(RANGE_PAGES);
        promoter::promote_now(mm, space, &vma, va(RANGE_PAGES));
        mm.set_thp_permission(space, crate::thp::ThpPermission::Withheld);
        promoter::promote_now(mm, space, &vma, va(RANGE_PAGES));
        assert_eq!((promoter::backlog(mm), site.get(Counter::ResCollapseFailed)), (0, 0));
        assert!(!site.is_block(0) && !site.is_block(RANGE_PAGES));
    });
}

/// The fault never fails by it: with every allocation failing from each moment on, the write that reaches the threshold
/// succeeds or fails as it does with `promote=async`, the promotion itself needs no memory, and no page is lost. The
/// queue, which the range goes to where a page is referenced, is the only thing that may go without.
#[test]
fn without_memory() {
    for (held, failing) in
        [(false, Failing::Once), (true, Failing::Once), (false, Failing::Onwards), (true, Failing::Onwards)]
    {
        with_site(sync(4), |site| {
            site.store_all(0..3);
            let page = held.then(|| page_of(site.leaf(0).unwrap().1.pfn()).get());
            inject::fail(1, failing);
            site.store(3);
            let failed = inject::disarm();
            assert_eq!((site.is_block(0), failed), (!held, held), "{failing:?}");
            page.into_iter().for_each(|page| site.mm.put_folio(page));
            site.check();
            if held {
                site.store(4);
                assert_eq!(site.drain(), 1);
            }
            site.assert_contents(|page| page < 4 + u64::from(held));
        });
    }
}

/// All of it from an empty machine, each allocation failing in turn and all from there on.
#[test]
fn exhaustive() {
    for failing in [Failing::Once, Failing::Onwards] {
        let failed = testkit::exhaust(
            &sync(2),
            failing,
            |mm| {
                let space = mm.new_space().unwrap();
                let request = MmapRequest::anonymous(RANGES * RANGE_BYTES, MapProt::READ | MapProt::WRITE);
                mm.mmap(&space, &request.fixed(BASE.raw())).unwrap();
                space
            },
            |mm, space| {
                (0..4).try_for_each(|page| {
                    mm.write_user(space, va(page % 2 + page / 2 * RANGE_PAGES), &word(page).to_le_bytes())
                })
            },
            |mm, space| mm.destroy_space(&space),
        );
        assert!(failed >= 2, "only {failed} allocations were failed");
    }
}
