//! Which reservations memory pressure takes, in which order, and what becomes of their pages.

use std::sync::atomic::{AtomicU64, Ordering};

use super::*;
use crate::config::{PromotionThreshold, ReserveReclaim};
use crate::page::FolioRef;
use crate::testkit::run_on_cpus;
use crate::thp::queue::{self, Place};
use crate::thp::reclaim;
use crate::thp::record::{Key, Record};

/// As [`threshold`], with `reserve_reclaim=lru`.
fn lru(pages: u64) -> Builder {
    let pages = PromotionThreshold::new(pages).unwrap();
    let builder = Builder::new().ram_mib(64).cpus(4);
    builder.config(move |config| {
        config.promotion_threshold = pages;
        config.reserve_reclaim = ReserveReclaim::Lru;
    })
}

impl Site<'_> {
    fn key(&self, range: u64) -> Key {
        Key::new(&self.space, va(range * RANGE_PAGES))
    }
    fn record(&self, range: u64) -> Option<Record> {
        self.mm.thp.table.lock(self.key(range)).find(self.key(range))
    }
    /// Which ranges are in the queue, the least recently populated first.
    fn order(&self) -> Vec<u64> {
        queue::with_queue(self.mm, |queue| {
            let range = |record: Record| record.key().range.offset_from(BASE) / RANGE_BYTES;
            queue.iter().map(Record::of_link).map(range).collect()
        })
    }
    fn gauges(&self) -> [u64; 2] {
        [Counter::NrThpResPartpop, Counter::NrThpResFullpop].map(|gauge| self.get(gauge))
    }
    /// Broken, reclaimed, freed.
    fn given_up(&self) -> [u64; 3] {
        [Counter::ThpResBroken, Counter::ThpResReclaimed, Counter::ThpResFreed]
            .map(|counter| self.get(counter))
    }
    /// Takes all free memory that no reservation holds, page by page.
    fn exhaust(&self) -> Vec<FolioRef> {
        let page = || self.mm.alloc_pages(Order::PAGE, PageKind::Kernel).ok();
        std::iter::from_fn(page).collect()
    }
    fn give_back(&self, pages: Vec<FolioRef>) {
        pages.into_iter().for_each(|page| self.mm.free_pages(page, Order::PAGE));
    }
    /// First pages of ranges read as stored.
    fn assert_stored(&self, pages: impl IntoIterator<Item = u64>) {
        pages.into_iter().for_each(|page| assert_eq!(self.load(page), (word(page), 0), "page {page}"));
    }
}

/// Who writes an object where nothing is free gets a page out of a reservation, as a process does; kernel memory and
/// huge pages do not.
#[test]
fn objects_have_what_is_reserved() {
    with_site(lru(512), |site| {
        site.store_all((0..RANGES).map(|range| range * RANGE_PAGES));
        let object = site.mm.new_object(0).unwrap();
        site.mm.write_object(&object, 0, &[1]).unwrap();
        let taken = site.exhaust();
        for (order, kind) in [(Order::PAGE, PageKind::Kernel), (Order::PMD, PageKind::Anon)] {
            assert!(site.mm.alloc_pages(order, kind).is_err(), "{kind:?}");
        }
        assert_eq!(site.given_up(), [0; 3]);
        assert_eq!(site.mm.write_object(&object, PAGE_SIZE, &[2]), Ok(()));
        assert_eq!((site.given_up(), site.get(Counter::NrShmem)), ([1, 1, 0], 2));
        site.mm.close_object(object);
        site.give_back(taken);
    });
}

/// A reservation joins the queue with its first page, goes to its end with each further one, and leaves it full.
#[test]
fn the_queue_is_in_order_of_population() {
    with_site(lru(512), |site| {
        let page = |range: u64, n: u64| range * RANGE_PAGES + n;
        site.store_all([page(0, 0), page(1, 0), page(2, 0)]);
        assert_eq!((site.order(), site.gauges()), (vec![0, 1, 2], [3, 0]));
        site.store(page(0, 9));
        assert_eq!(site.order(), [1, 2, 0]);
        site.store(page(0, 8));
        assert_eq!(site.order(), [1, 2, 0]);
        site.store(page(2, 511));
        site.store(page(1, 7));
        assert_eq!(site.order(), [0, 2, 1]);
        site.check();
        site.store_all((0..RANGE_PAGES).filter(|&n| n != 9).map(|n| page(0, n)));
        assert_eq!((site.order(), site.gauges()), (vec![2, 1], [2, 1]));
        assert_eq!(site.record(0).unwrap().standing().place, Place::Full);
        site.check();
        assert_eq!(site.drain(), 1);
        assert_eq!((site.order(), site.gauges(), site.given_up()), (vec![2, 1], [2, 0], [0, 0, 0]));
    });
}

/// A page that is given back is a change as well; a reservation that has no other page is freed whole.
#[test]
fn a_page_given_back_counts_as_a_change() {
    with_site(lru(512), |site| {
        site.store_all([0, RANGE_PAGES]);
        let crate::thp::Take::Page(taken) = crate::thp::reservation::take(site.mm, &site.space, va(5)) else {
            panic!("page 5 is free")
        };
        site.store(RANGE_PAGES + 1);
        assert_eq!(site.order(), [0, 1]);
        crate::thp::reservation::untake(site.mm, &site.space, taken, va(5));
        assert_eq!(site.order(), [1, 0]);
        let lonely = va(2 * RANGE_PAGES);
        let crate::thp::Take::Page(taken) = crate::thp::reservation::take(site.mm, &site.space, lonely)
        else {
            panic!("a block is free")
        };
        assert_eq!(site.order(), [1, 0, 2]);
        crate::thp::reservation::untake(site.mm, &site.space, taken, lonely);
        assert_eq!((site.order(), site.given_up()), (vec![1, 0], [0, 0, 1]));
    });
}

/// With many reservations one that moved a short while ago stays where it is, so that few faults take the lock; it is
/// never further from its place than one in sixteen of the queue.
#[test]
fn few_faults_move_a_reservation() {
    let many = 64;
    let builder = Builder::new().ram_mib(256).config(|config| {
        config.promotion_threshold = PromotionThreshold::new(512).unwrap();
    });
    builder.boot(|mm, env| {
        let site = Site { mm, env, space: mm.new_space().unwrap() };
        let request = MmapRequest::anonymous(many * RANGE_BYTES, MapProt::READ | MapProt::WRITE);
        mm.mmap(&site.space, &request.fixed(BASE.raw())).unwrap();
        let write = |range: u64, n: u64| {
            mm.write_user(&site.space, va(range * RANGE_PAGES + n), &[1]).unwrap();
        };
        (0..many).for_each(|range| write(range, 0));
        assert!(site.order().into_iter().eq(0..many));
        // Four places from the end, which is one in sixteen: it stays. One more: it moves.
        write(many - 5, 1);
        assert!(site.order().into_iter().eq(0..many));
        write(many - 6, 1);
        assert_eq!(site.order().last(), Some(&(many - 6)));
        mm.destroy_space(&site.space);
    });
}

/// `lru`: one page is asked for and one reservation goes, the least recently populated; the next request needs none,
/// since there is a batch. `all` drops every one. What is populated is read as before.
#[test]
fn one_page_takes_one_reservation() {
    for mode in ReserveReclaim::ALL {
        with_site(lru(512), |site| {
            site.mm.thp.set_reserve_reclaim_word(mode.word()).unwrap();
            let firsts = || (0..RANGES).map(|range| range * RANGE_PAGES);
            site.store_all(firsts());
            site.store(1);
            let kernel = site.exhaust();
            let page = site.mm.alloc_pages(Order::PAGE, PageKind::Anon).unwrap();
            let left = match mode {
                ReserveReclaim::All => vec![],
                ReserveReclaim::Lru => vec![2, 3, 0],
            };
            let gone = RANGES - left.len() as u64;
            assert_eq!((site.order(), site.given_up()), (left, [gone, gone, 0]));
            let more: Vec<_> = (1..reclaim::BATCH)
                .map(|_| site.mm.alloc_pages(Order::PAGE, PageKind::Anon).unwrap())
                .collect();
            assert_eq!(site.given_up(), [gone, gone, 0]);
            site.assert_stored(firsts());
            site.give_back(more);
            site.give_back(vec![page]);
            site.give_back(kernel);
        });
    }
}

/// The hot stay: whoever is written to again and again keeps his reservation while memory runs out around him.
#[test]
fn the_hot_reservation_is_the_last() {
    with_site(lru(512), |site| {
        site.store_all((0..RANGES).map(|range| range * RANGE_PAGES));
        let mut held = site.exhaust();
        for (n, left) in (1..).zip([3, 2, 1]) {
            site.store(RANGE_PAGES + n);
            while site.order().len() != left {
                held.push(site.mm.alloc_pages(Order::PAGE, PageKind::Anon).unwrap());
            }
            assert_eq!(site.order().last(), Some(&1));
        }
        site.assert_stored((0..RANGES).map(|range| range * RANGE_PAGES));
        site.give_back(held);
    });
}

/// A request of 2^order pages in one piece is served from the least recently populated reservation that has such a run,
/// not from one before it that has none; the rest of it is free, and the populated pages keep their bytes and frames.
#[test]
fn a_contiguous_request_is_served_from_a_partial_reservation() {
    for order in (1..9).map(Order::new) {
        with_site(lru(512), |site| {
            let half = order.pages() / 2;
            // Range 0: each run is cut. Range 1: one run is left. Range 2: empty but for a page.
            let cut = |page: &u64| page % order.pages() == half;
            let kept = RANGE_PAGES - order.pages();
            site.store_all((0..RANGE_PAGES).filter(cut));
            site.store_all((0..kept).filter(cut).map(|page| RANGE_PAGES + page));
            site.store(RANGE_PAGES + kept - 1);
            site.store(2 * RANGE_PAGES);
            assert_eq!(site.order(), [0, 1, 2]);
            let stored: Vec<_> =
                (0..RANGES * RANGE_PAGES).filter(|&page| site.leaf(page).is_some()).collect();
            let frames: Vec<_> = stored.iter().map(|&page| site.leaf(page)).collect();
            let run = site.record(1).unwrap().page(kept as usize);
            let kernel = site.exhaust();
            let block = site.mm.alloc_pages(order, PageKind::Hugetlb).unwrap();
            assert_ne!(run.kind(), PageKind::ThpReserved, "order {order:?}");
            assert_eq!((site.order(), site.given_up()), (vec![0, 2], [1, 1, 0]));
            site.assert_stored(stored.iter().copied());
            assert!(stored.iter().map(|&page| site.leaf(page)).eq(frames));
            block.set_kind(PageKind::Kernel, order);
            site.check();
            site.mm.free_pages(block, order);
            site.give_back(kernel);
        });
    }
}

/// `alloc_contig` of fewer than 512 pages takes a free run, then one of a reservation, before it moves anything.
#[test]
fn contiguous_memory_comes_out_of_a_reservation() {
    with_site(lru(512), |site| {
        site.store_all([0, 100, RANGE_PAGES]);
        let kernel = site.exhaust();
        let block = site.mm.alloc_contig(Order::new(7), PageKind::Kernel).unwrap();
        assert_eq!((site.order(), site.given_up()), (vec![1], [1, 1, 0]));
        assert_eq!((site.get(Counter::PgMigrateSuccess), site.get(Counter::AllocContigSuccess)), (0, 1));
        site.assert_stored([0, 100, RANGE_PAGES]);
        site.mm.free_pages(block, Order::new(7));
        site.give_back(kernel);
    });
}

/// A reservation whose lock another CPU holds is passed over; where it is the only one it is waited for.
#[test]
fn a_busy_reservation_is_passed_over() {
    with_site(lru(512), |site| {
        let mm = site.mm;
        site.store_all([0, RANGE_PAGES]);
        let step = AtomicU64::new(0);
        let wait = |n: u64| {
            while step.load(Ordering::SeqCst) < n {
                Machine::relax();
            }
        };
        let holder = || {
            let bucket = mm.thp.table.lock(site.key(0));
            step.store(1, Ordering::SeqCst);
            wait(2);
            drop(bucket);
        };
        let breaker = || {
            wait(1);
            assert_eq!(reclaim::break_least_recent(mm, 1), RANGE_PAGES - 1);
            step.store(2, Ordering::SeqCst);
        };
        run_on_cpus(site.env, vec![Box::new(holder), Box::new(breaker)]);
        mm.activate_space(Some(&site.space));
        assert_eq!((site.order(), site.given_up()), (vec![0], [1, 1, 0]));
        assert_eq!(reclaim::break_least_recent(mm, 1), RANGE_PAGES - 1);
        assert_eq!(reclaim::break_least_recent(mm, 1), 0);
        site.assert_stored([0, RANGE_PAGES]);
    });
}

/// A reservation whose promotion is under way is full for that time, and nobody breaks it. It comes back as the most
/// recent one when the promotion gives up.
#[test]
fn a_promotion_under_way_is_left_alone() {
    with_site(lru(2), |site| {
        let pressed = AtomicU64::new(0);
        site.store_all([0, 1, RANGE_PAGES]);
        let held = crate::page::page_of(site.leaf(1).unwrap().1.pfn()).try_get().unwrap();
        let (mm, space) = (site.mm, &site.space);
        let claimed = || site.record(0).is_some_and(|record| record.standing().place == Place::Full);
        let promoter = || {
            while pressed.load(Ordering::SeqCst) == 0 {
                let _ = crate::thp::promote::promote_range(mm, space, BASE);
                Machine::relax();
            }
        };
        let presser = || {
            while !claimed() {
                Machine::relax();
            }
            let left = (0..100_000).any(|_| {
                Machine::relax();
                claimed() && !site.order().contains(&0)
            });
            pressed.store(1, Ordering::SeqCst);
            assert!(left, "a reservation that is promoted stays in the queue");
        };
        run_on_cpus(site.env, vec![Box::new(promoter), Box::new(presser)]);
        mm.activate_space(Some(space));
        assert_eq!(site.order(), [1, 0]);
        mm.put_folio(held);
        assert_eq!(reclaim::break_least_recent(mm, 1), RANGE_PAGES - 1);
        assert_eq!(site.order(), [0]);
        assert_eq!(site.drain(), 1);
    });
}
