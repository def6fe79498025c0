//! Faults, promotion, unmapping, pressure and walkers at once, each on a vCPU of its own.

use std::sync::atomic::{AtomicU64, Ordering};

use super::*;
use crate::config::Promote;
use crate::page::page_of;
use crate::space::Advice;
use crate::testkit::{Random, run_on_cpus};
use crate::thp::reclaim;

/// A machine whose vCPUs take turns as `seed` has it. Where that is odd, faults promote what they can.
pub(super) fn restless(seed: u64, pages: u64) -> Builder {
    let promote = Promote::ALL[seed as usize % Promote::ALL.len()];
    threshold(pages).machine(|desc| desc.seed = seed).config(|config| config.promote = promote)
}

/// Runs each job on a vCPU with the space active; all after the first two run again and again until those have ended.
pub(super) fn contend(site: &Site<'_>, writers: [&(dyn Fn() + Sync); 2], others: &[&(dyn Fn() + Sync)]) {
    let left = AtomicU64::new(writers.len() as u64);
    let active = |f: &dyn Fn()| {
        site.mm.activate_space(Some(&site.space));
        f();
        site.mm.activate_space(None);
    };
    let (left, active) = (&left, &active);
    let mut jobs: Vec<model::Job<'_>> = Vec::new();
    for writer in writers {
        jobs.push(Box::new(move || {
            active(&|| writer());
            left.fetch_sub(1, Ordering::SeqCst);
        }));
    }
    for other in others {
        jobs.push(Box::new(move || {
            active(&|| {
                while left.load(Ordering::SeqCst) != 0 {
                    other();
                    Machine::relax();
                }
            });
        }));
    }
    run_on_cpus(site.env, jobs);
    site.mm.activate_space(Some(&site.space));
}

/// Two threads write the pages of the ranges, one ascending and one descending, while the promoter runs: nothing that
/// was written is lost, and in the end every range is a block.
#[test]
fn writers_and_promoter() {
    for seed in model::seeds(2) {
        for pages in [2, 100, 512] {
            with_site(restless(seed, pages), |site| {
                let all = RANGES * RANGE_PAGES;
                let up = || site.store_all((0..all).filter(|page| page % 2 == 0));
                let down = || site.store_all((0..all).rev().filter(|page| page % 2 == 1));
                let promote = || {
                    site.drain();
                };
                contend(site, [&up, &down], &[&promote]);
                site.drain();
                for page in 0..all {
                    assert_eq!(site.load(page), (word(page), 0), "page {page}");
                }
                assert!((0..RANGES).all(|range| site.is_block(range * RANGE_PAGES)), "seed {seed}");
                assert_eq!(site.get(Counter::ResPagesCollapsed), RANGES);
            });
        }
    }
}

/// Two threads write the same pages at the same moment, so each page is in one thread's hand when the other wants it.
#[test]
fn two_writers_of_one_page() {
    for seed in model::seeds(2) {
        with_site(restless(seed, 300), |site| {
            let write = || site.store_all(0..RANGE_PAGES);
            let promote = || {
                site.drain();
            };
            contend(site, [&write, &write], &[&promote]);
            site.drain();
            site.assert_contents(|_| true);
            assert!(site.is_block(0));
        });
    }
}

/// MADV_DONTNEED comes between: a page reads as written or as zeros, never as anything else.
#[test]
fn writers_promoter_and_dontneed() {
    for seed in model::seeds(2) {
        with_site(restless(seed, 32), |site| {
            let write = || {
                for page in 0..RANGE_PAGES {
                    site.store(page);
                    let seen = site.load(page);
                    assert!(seen == (word(page), 0) || seen == (0, 0), "page {page} reads {seen:x?}");
                }
            };
            let promote = || {
                site.drain();
            };
            let next = AtomicU64::new(seed);
            let discard = || {
                let page = next.fetch_add(97, Ordering::Relaxed) % RANGE_PAGES;
                let len = if page.is_multiple_of(3) { RANGE_BYTES } else { PAGE_SIZE };
                site.mm.madvise(&site.space, va(page).raw(), len, Advice::DontNeed).unwrap();
            };
            contend(site, [&write, &write], &[&promote, &discard]);
        });
    }
}

/// munmap of a whole range while it is promoted: whoever is late finds nothing to do. The writers keep to the first two
/// ranges, the third is mapped, written, submitted and unmapped.
#[test]
fn promoter_and_munmap() {
    with_site(restless(0, 2), |site| {
        let range = 2 * RANGE_PAGES;
        let write = || site.store_all(0..2 * RANGE_PAGES);
        let remap = || {
            for _ in 0..40 {
                site.store_all(range..range + 3);
                site.mm.munmap(&site.space, va(range).raw(), RANGE_BYTES).unwrap();
                let request = MmapRequest::anonymous(RANGE_BYTES, MapProt::READ | MapProt::WRITE);
                site.mm.mmap(&site.space, &request.fixed(va(range).raw())).unwrap();
                assert_eq!(site.load(range + 1), (0, 0));
                site.mm.munmap(&site.space, va(range).raw(), RANGE_BYTES).unwrap();
                site.mm.mmap(&site.space, &request.fixed(va(range).raw())).unwrap();
            }
        };
        let promote = || {
            site.drain();
        };
        contend(site, [&write, &remap], &[&promote]);
        (0..2 * RANGE_PAGES).for_each(|page| assert_eq!(site.load(page), (word(page), 0)));
    });
}

/// Pressure drops reservations at any moment, and a walker over pfns takes references as it likes: promotions give up,
/// no page is lost, nothing that was written changes.
#[test]
fn writers_promoter_pressure_and_walker() {
    for seed in model::seeds(2) {
        with_site(restless(seed, 64), |site| {
            let mm = site.mm;
            let first = mm.ram()[0].start;
            let walk = || {
                for n in 0..mm.ram_pages() {
                    let page = page_of(first.add(n));
                    if page.kind() != PageKind::Reserved {
                        page.try_get().into_iter().for_each(|page| mm.put_folio(page));
                    }
                }
            };
            let tick = AtomicU64::new(0);
            let promote = || {
                site.drain();
                if tick.fetch_add(1, Ordering::Relaxed) % 8 == 7 {
                    reclaim::drop_reservations(mm);
                }
            };
            let up = || site.store_all(0..RANGES * RANGE_PAGES);
            let mut random = Random::for_test("writers_promoter_pressure_and_walker", seed);
            let mut pages: Vec<_> = (0..RANGES * RANGE_PAGES).collect();
            let shuffled: Vec<_> = std::iter::from_fn(|| random.take(&mut pages)).collect();
            let mixed = || site.store_all(shuffled.iter().copied());
            contend(site, [&up, &mixed], &[&promote, &walk]);
            for page in 0..RANGES * RANGE_PAGES {
                assert_eq!(site.load(page), (word(page), 0), "page {page}");
            }
            assert_ne!(site.get(Counter::ThpResBroken), 0, "seed {seed}: no reservation was released");
        });
    }
}
