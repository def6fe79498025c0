//! FEAT_BBM and promotion: the block takes the table's place by a break, or without one where both translate alike.

use std::sync::atomic::{AtomicU64, Ordering};

use arch::CpuId;
use arch::features::BbmLevel;
use arch::model::counters;

use super::*;
use crate::config::Promote;
use crate::page::page_of;
use crate::steps::{Owed, StepKind};
use crate::testkit::run_on_cpus;

const LEVELS: [BbmLevel; 4] = [BbmLevel::Level0, BbmLevel::Level1, BbmLevel::Level2, BbmLevel::Level3];

fn at_level(bbm: BbmLevel, pages: u64) -> Builder {
    threshold(pages).ram_mib(16).machine(move |desc| desc.features.bbm = bbm)
}

/// Both roads, step by step, at each level of FEAT_BBM, for a full range and for one that is filled: what is announced,
/// and what is stored, flushed and waited for. The second CPU has the entries in its TLB, and sees the block.
#[test]
fn two_roads() {
    use StepKind::{PromoteBegin, PromoteBreak, PromoteFlush, PromoteMake, PromoteReplace};
    let broken: &[_] = &[
        (PromoteBegin, Owed::Nothing),
        (PromoteBreak, Owed::FlushThenMake),
        (PromoteFlush, Owed::Make),
        (PromoteMake, Owed::Nothing),
    ];
    let direct: &[_] =
        &[(PromoteBegin, Owed::Nothing), (PromoteReplace, Owed::Flush), (PromoteFlush, Owed::Nothing)];
    for bbm in LEVELS {
        for (pages, full) in [(512, true), (511, false), (2, false)] {
            with_site(at_level(bbm, pages), |site| {
                site.store_all(0..pages);
                let read = || assert_eq!(model::user_load(va(1)), Ok(word(1)));
                let on_cpu_1 = || {
                    model::run_as(CpuId::new(1), || {
                        site.mm.activate_space(Some(&site.space));
                        read();
                        site.mm.activate_space(None);
                    });
                };
                on_cpu_1();
                site.env.clear_steps();
                let (before, breaks) = (counters(), site.get(Counter::PteBreak));
                assert_eq!(site.drain(), 1);
                let spent = counters().since(&before);
                let replaced = full && bbm >= BbmLevel::Level2;
                let steps: Vec<_> = site.env.steps().iter().map(|step| (step.kind, step.owed)).collect();
                assert_eq!(steps, if replaced { direct } else { broken }, "{bbm:?}, {pages}");
                let expected = if replaced { (1, 1, 2) } else { (2, 1, 3) };
                assert_eq!(
                    (spent.desc_stores, spent.tlbi_broadcast, spent.dsb),
                    expected,
                    "{bbm:?}, {pages}"
                );
                assert_eq!(site.get(Counter::PteBreak) - breaks, u64::from(!replaced));
                assert_eq!(site.get(Counter::ResPagesCollapsedDirect), u64::from(replaced));
                on_cpu_1();
                site.assert_contents(|page| page < pages);
            });
        }
    }
}

/// Entries that lost the right to write, and strays, translate otherwise than the block will: at every level they are
/// broken, though the range is full.
#[test]
fn what_a_fork_left_is_broken() {
    for written in [&[][..], &[7, 300]] {
        with_site(at_level(BbmLevel::Level2, 512), |site| {
            site.store_all(0..511);
            let child = site.mm.fork_space(&site.space).unwrap();
            site.store_all(written.iter().copied());
            site.mm.destroy_space(&child);
            site.store(511);
            assert_eq!(site.drain(), 1);
            assert_eq!(site.get(Counter::ResPagesCollapsedDirect), 0);
            assert_eq!(site.get(Counter::ResPagesBroughtBack), written.len() as u64);
            site.assert_contents(|_| true);
        });
    }
}

/// A page that is pinned, or referenced, stops either road before anything is stored.
#[test]
fn a_pin_stops_both_roads() {
    for bbm in LEVELS {
        with_site(at_level(bbm, 512), |site| {
            site.store_all(0..511);
            let pin = site.mm.pin_user_pages(&site.space, va(100), 1, Access::Write).unwrap();
            site.store(511);
            let before = counters();
            assert_eq!(site.drain(), 0);
            let spent = counters().since(&before);
            assert_eq!((spent.desc_stores, spent.tlbi_broadcast), (0, 0), "{bbm:?}");
            site.mm.unpin(pin);
            assert_eq!(site.drain(), 1);
            site.assert_contents(|_| true);
        });
    }
}

/// Three CPUs write and read the full ranges, and one pins and unpins pages, while they are promoted on either road, by
/// the promoter or by the faults. Nothing is lost. Conflict aborts come at level 2, where the architecture has them,
/// and at no other, and each is resolved.
#[test]
fn accesses_meanwhile() {
    let (conflicts, mut ran) = (AtomicU64::new(0), 0);
    for seed in model::seeds(24) {
        ran += 1;
        let bbm = [BbmLevel::Level2, BbmLevel::Level3, BbmLevel::Level2, BbmLevel::Level0][seed as usize % 4];
        let promote = Promote::ALL[seed as usize / 4 % 2];
        let machine = at_level(bbm, 512).machine(move |desc| desc.seed = seed);
        with_site(machine.config(|config| config.promote = promote), |site| {
            let (mm, space) = (site.mm, &site.space);
            let done = AtomicU64::new(0);
            (0..2).for_each(|range| site.store_all(range * RANGE_PAGES..(range + 1) * RANGE_PAGES - 1));
            let active = |f: &dyn Fn()| {
                mm.activate_space(Some(space));
                f();
                mm.activate_space(None);
            };
            let (done, active) = (&done, &active);
            let user = |first: u64| {
                move || {
                    active(&|| {
                        let mut page = first;
                        while done.load(Ordering::SeqCst) != 2 {
                            let at = page % (RANGE_PAGES - 1) + page % 2 * RANGE_PAGES;
                            assert_eq!(model::user_load(va(at)), Ok(word(at)));
                            site.store(at);
                            page += 37;
                            Machine::relax();
                        }
                    });
                }
            };
            let pins = move || {
                active(&|| {
                    while done.load(Ordering::SeqCst) != 2 {
                        let pin = mm.pin_user_pages(space, va(5), 1, Access::Write);
                        pin.into_iter().for_each(|pin| mm.unpin(pin));
                        Machine::relax();
                    }
                });
            };
            let promotes = move || {
                active(&|| {
                    for range in 0..2 {
                        site.store((range + 1) * RANGE_PAGES - 1);
                        for _ in 0..10_000 {
                            site.drain();
                            if site.is_block(range * RANGE_PAGES) {
                                break;
                            }
                            site.store((range + 1) * RANGE_PAGES - 1);
                        }
                        done.fetch_add(1, Ordering::SeqCst);
                    }
                });
            };
            run_on_cpus(
                site.env,
                vec![Box::new(promotes), Box::new(user(0)), Box::new(user(3)), Box::new(pins)],
            );
            mm.activate_space(Some(space));
            for page in 0..2 * RANGE_PAGES {
                assert_eq!(site.load(page), (word(page), 0), "page {page}");
            }
            let seen = site.get(Counter::TlbConflict);
            assert!(seen == 0 || bbm == BbmLevel::Level2, "{bbm:?}: {seen} conflict aborts");
            conflicts.fetch_add(seen, Ordering::Relaxed);
        });
    }
    let seen = conflicts.into_inner();
    println!("{seen} conflict aborts");
    assert!(ran < 24 || seen != 0, "no access met a table and a block at once");
}

/// A conflict abort is resolved, and the access succeeds; one outside of any VMA is the user's fault as ever.
#[test]
fn conflict_aborts_are_resolved() {
    with_site(at_level(BbmLevel::Level2, 512), |site| {
        site.store(0);
        let before = counters();
        assert!(site.fault(va(0), Access::Write, FaultStatus::TlbConflict));
        assert_eq!(counters().since(&before).tlbi_broadcast, 1);
        assert_eq!((site.get(Counter::TlbConflict), site.load(0)), (1, (word(0), 0)));
        assert!(!site.fault(va(RANGES * RANGE_PAGES), Access::Write, FaultStatus::TlbConflict));
        assert_eq!(page_of(site.leaf(0).unwrap().1.pfn()).refcount(), 2);
    });
}
