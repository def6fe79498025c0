//! The pages that nobody has populated, as blocks of the allocator's shape: how they are cut, given back and looked at.

use super::*;
use crate::page::{Flags, page_of};
use crate::report::frames::kpf;
use crate::testkit::{Random, run_on_cpus};
use crate::thp::promote::{PromoteError, promote_range};
use crate::thp::reclaim;
use crate::thp::reservation::{self, Take};

/// The first pages of the pieces of page `page`'s reservation, and their orders.
fn pieces(site: &Site<'_>, page: u64) -> Vec<(u64, u8)> {
    let block = page_of(site.leaf(page).unwrap().1.pfn().align_down(Order::PMD));
    let mut found = Vec::new();
    let mut n = 0;
    while n < RANGE_PAGES {
        let page = block.nth(n);
        if page.is_kind(PageKind::ThpReserved) {
            found.push((n, page.order().raw()));
        }
        n += page.order().pages();
    }
    found
}

/// The first page cuts the block nine times, wherever it lies; each later one as often as its piece is large, and the
/// order in which pages come makes no difference to what is left.
#[test]
fn a_page_is_cut_out_of_its_piece() {
    for page in [0u64, 1, 255, 256, 300, 511] {
        with_site(threshold(512), |site| {
            site.store(page);
            let mut expected: Vec<_> = (0..9u8).map(|order| ((page >> order ^ 1) << order, order)).collect();
            expected.sort_unstable();
            assert_eq!(pieces(site, page), expected, "page {page}");
            assert_eq!(site.load(page), (word(page), 0));
        });
    }
    for pages in [[3, 2, 500], [500, 2, 3], [2, 500, 3]] {
        with_site(threshold(512), |site| {
            site.store_all(pages);
            let low = [(0, 1), (4, 2), (8, 3), (16, 4), (32, 5), (64, 6), (128, 7)];
            let high = [(256, 7), (384, 6), (448, 5), (480, 4), (496, 2), (501, 0), (502, 1), (504, 3)];
            assert!(pieces(site, 3).iter().eq(low.iter().chain(&high)));
        });
    }
}

/// Pages in any order, with others given back between: pieces and pages tile the block at each step, and whatever is left
/// goes back to the allocator as it was.
#[test]
fn random_pages_tile_the_block() {
    for seed in model::seeds(3) {
        with_site(threshold(512), |site| {
            let (mm, space) = (site.mm, &site.space);
            let mut random = Random::for_test("random_pages_tile_the_block", seed);
            let mut pages: Vec<u64> = (0..RANGE_PAGES).collect();
            let mut stored = Vec::new();
            let (most, before) = (40 + random.below(460), mm.free_page_count());
            while let Some(page) = random.take(&mut pages).filter(|_| stored.len() < most as usize) {
                if random.below(3) == 0 {
                    let Take::Page(taken) = reservation::take(mm, space, va(page)) else {
                        panic!("page {page}")
                    };
                    reservation::untake(mm, space, taken, va(page));
                    pages.push(page);
                } else {
                    site.store(page);
                    stored.push(page);
                }
                if random.below(16) == 0 {
                    site.check();
                }
            }
            site.check();
            let gone = match seed % 3 {
                0 => reclaim::drop_reservations(mm),
                1 => reclaim::break_least_recent(mm, 1),
                _ => {
                    mm.madvise(space, BASE.raw(), RANGE_BYTES, crate::space::Advice::DontNeed).unwrap();
                    stored.clear();
                    0
                }
            };
            site.check();
            let used = stored.len() as u64;
            assert!(seed % 3 == 2 || gone == RANGE_PAGES - used);
            let tables = site.get(Counter::NrPageTable);
            assert!(mm.free_page_count() + used + tables >= before, "pages are missing");
            site.assert_contents(|page| stored.contains(&page));
        });
    }
}

/// A walker's reference to a piece survives that it is cut smaller, that its first page is populated, and that the
/// reservation ends: what the walker holds is freed when it lets go, and no page more or less.
#[test]
fn a_walker_may_hold_a_piece() {
    // The piece of which the walker has a reference; what is stored then; how many pages the release leaves to it.
    for (first, next, kept) in [(0, 200, 128), (128, 130, 2), (128, 255, 64), (128, 128, 0)] {
        with_site(threshold(512), |site| {
            let mm = site.mm;
            site.store(300);
            if first != 0 {
                site.store(0);
            }
            let block = page_of(site.leaf(300).unwrap().1.pfn().align_down(Order::PMD));
            let held = block.nth(first).try_get().unwrap();
            site.store(next);
            let (free, used) = (mm.free_page_count(), site.get(Counter::NrAnon));
            reclaim::drop_reservations(mm);
            assert_eq!(mm.free_page_count(), free + RANGE_PAGES - used - kept, "after {next}");
            assert_eq!(held.refcount(), if kept == 0 { 2 } else { 1 });
            mm.put_folio(held);
            assert_eq!(mm.free_page_count(), free + RANGE_PAGES - used);
            site.check();
        });
    }
}

/// Nobody gets a reference inside of a piece, and whoever walks over frames sees neither a free page nor a page of a
/// process there.
#[test]
fn inside_a_piece_is_nothing() {
    with_site(threshold(512), |site| {
        site.store(0);
        let block = site.leaf(0).unwrap().1.pfn();
        let mut words = [u64::MAX; 1];
        for n in 1..RANGE_PAGES {
            let (pfn, first) = (block.add(n), n.is_power_of_two());
            assert_eq!(page_of(pfn).refcount(), u32::from(first));
            let got = site.mm.try_get_folio(pfn);
            assert_eq!(got.is_some(), first, "page {n}");
            got.into_iter().for_each(|folio| site.mm.put_folio(folio));
            assert_eq!(site.mm.read_kpageflags(pfn.raw(), &mut words), 1);
            assert_eq!(words[0] & (kpf::BUDDY | kpf::ANON | kpf::MMAP), 0, "page {n}");
            assert_eq!(site.mm.read_kpagecount(pfn.raw(), &mut words), 1);
            assert_eq!(words[0], 0, "page {n}");
            assert!(site.mm.reservation_of(pfn).is_some());
        }
    });
}

/// Who wants frames that lie inside of a piece finds the reservation by them, and it gives way; compaction passes over
/// the block.
#[test]
fn frames_inside_a_piece_can_be_had() {
    with_site(threshold(512), |site| {
        let mm = site.mm;
        site.store(0);
        let block = site.leaf(0).unwrap().1.pfn();
        crate::rmap::compact_all(mm);
        assert_eq!(site.leaf(0).unwrap().1.pfn(), block);
        assert_eq!(site.get(Counter::NrThpReserved), RANGE_PAGES - 1);
        let run = mm.alloc_contig_at(block.add(304), Order::new(4), PageKind::Kernel).unwrap();
        assert_eq!((site.get(Counter::NrThpReserved), site.load(0)), (0, (word(0), 0)));
        site.check();
        mm.free_pages(run, Order::new(4));
    });
}

/// A promotion that must give up leaves the pieces that it had claimed as they were, and the next one fills them.
#[test]
fn a_claim_is_of_pieces() {
    with_site(threshold(2), |site| {
        site.store_all([7, 300]);
        let before = pieces(site, 7);
        let block = page_of(site.leaf(7).unwrap().1.pfn().align_down(Order::PMD));
        let held = block.nth(384).try_get().unwrap();
        let error = promote_range(site.mm, &site.space, BASE);
        assert_eq!(error, Err(PromoteError::Referenced(held.pfn())));
        assert_eq!((pieces(site, 7), block.nth(384).refcount()), (before.clone(), 2));
        site.mm.put_folio(held);
        site.check();
        promote_range(site.mm, &site.space, BASE).unwrap();
        assert!(site.is_block(0) && !block.nth(384).flags().contains(Flags::RESERVED));
        site.assert_contents(|page| [7, 300].contains(&page));
    });
}

/// A reservation is released while a promotion has claimed its pieces: each piece is freed whole by who lets go last.
#[test]
fn a_claim_outlives_its_reservation() {
    for seed in model::seeds(8) {
        let builder = threshold(3).machine(|desc| desc.seed = seed);
        with_site(builder, |site| {
            let mm = site.mm;
            for round in 0..6u64 {
                let first = round % RANGES * RANGE_PAGES;
                site.store_all([first + 1, first + 77 + round, first + 400]);
                let promote: model::Job<'_> = Box::new(|| {
                    let _ = promote_range(mm, &site.space, va(first));
                });
                let release: model::Job<'_> = Box::new(|| {
                    reclaim::drop_reservations(mm);
                });
                let walk: model::Job<'_> = Box::new(|| {
                    for n in 0..mm.ram_pages() / 8 {
                        let pfn = mm.ram()[0].start.add(8 * n + round % 2);
                        if page_of(pfn).kind() != PageKind::Reserved {
                            mm.try_get_folio(pfn).into_iter().for_each(|folio| mm.put_folio(folio));
                        }
                    }
                });
                run_on_cpus(site.env, vec![promote, release, walk]);
                site.mm.activate_space(Some(&site.space));
                site.check();
                for page in [1, 77 + round, 400] {
                    assert_eq!(site.load(first + page), (word(first + page), 0), "round {round}");
                }
                mm.madvise(&site.space, va(first).raw(), RANGE_BYTES, crate::space::Advice::DontNeed)
                    .unwrap();
            }
        });
    }
}
