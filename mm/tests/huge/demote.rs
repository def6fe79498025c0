//! Demotion: free folios of one size become folios of a smaller one.

use arch::model::{Job, MachineDesc, run_on_cpus};
use arch::{Machine, Order, contract::Cpu};
use mm::Mm;
use mm::config::{HvoStrategy, TailEncoding};
use mm::hugetlb::{Counts, Demoted, HugeSize, NotSmaller, reserve, unreserve};
use mm::hvo::{HvoError, Switch};
use mm::page::{FolioRef, PageKind};
use mm::space::MmapRequest;
use mm::stats::Counter;
use mm::testkit::{Builder, fail_every_allocation};

use crate::common::{RW, Variant, counts, flags, grow, machine};

fn demoted(folios: u64) -> Demoted {
    Demoted { folios, unrestored: None, unoptimized: None }
}

/// Pages that can be divided, and what they can be divided into.
fn pairs() -> impl Iterator<Item = (HugeSize, HugeSize)> {
    HugeSize::ALL.into_iter().flat_map(|size| size.smaller().map(move |into| (size, into)))
}

/// One page less of the one size is exactly so many more of the other, whichever two sizes and encoding of tails;
/// pieces are like pages that were made of this size, and all memory comes back but for what HVO keeps.
#[test]
fn numbers_are_exact_for_every_pair_of_sizes() {
    for (size, into) in pairs() {
        for &tails in TailEncoding::ALL {
            machine(size).config(|config| config.tails = tails).boot(|mm, _| {
                let free = mm.free_page_count();
                let pages = if size == HugeSize::G1 { 1 } else { 2 };
                grow(mm, size, pages);
                grow(mm, into, 1);
                mm.hugetlb.set_demote_size(mm, size, into).unwrap();
                let ratio = size.bytes() / into.bytes();
                assert_eq!(mm.hugetlb.demote(mm, size, 1), demoted(1), "{size} into {into}");
                assert_eq!(mm.hugetlb.counts(size), counts(pages - 1, pages - 1, 0));
                assert_eq!(mm.hugetlb.counts(into), counts(1 + ratio, 1 + ratio, 0));
                let optimized: u64 = [size, into]
                    .map(|s| if s == HugeSize::K64 { 0 } else { mm.hugetlb.counts(s).nr })
                    .iter()
                    .sum();
                assert_eq!(mm.stats.get(Counter::NrHvoOptimized), optimized, "{size} into {into}");
                assert_eq!(mm.hugetlb.demote(mm, size, u64::MAX), demoted(pages - 1));
                assert_eq!(mm.hugetlb.counts(size), counts(0, 0, 0));
                assert_eq!(mm.hugetlb.counts(into), counts(1 + pages * ratio, 1 + pages * ratio, 0));
                mm.check_all().unwrap();
                grow(mm, into, 0);
                assert_eq!(mm.free_page_count(), free - mm.hvo.kept_pages(mm), "{size} into {into}");
            });
        }
    }
}

/// The next smaller size is the default; any smaller one may be set, no other, and the smallest has none.
#[test]
fn demote_size_is_smaller() {
    Builder::new().boot(|mm, _| {
        let next = HugeSize::ALL.map(|size| mm.hugetlb.demote_size(size));
        assert_eq!(next, [None, Some(HugeSize::K64), Some(HugeSize::M2), Some(HugeSize::M32)]);
        for size in HugeSize::ALL {
            for into in HugeSize::ALL {
                let before = mm.hugetlb.demote_size(size);
                let (set, after) = if into < size { (Ok(()), Some(into)) } else { (Err(NotSmaller), before) };
                assert_eq!(mm.hugetlb.set_demote_size(mm, size, into), set);
                assert_eq!(mm.hugetlb.demote_size(size), after);
            }
        }
        grow(mm, HugeSize::K64, 2);
        assert_eq!(mm.hugetlb.demote(mm, HugeSize::K64, 1), demoted(0));
        assert_eq!(mm.hugetlb.counts(HugeSize::K64), counts(2, 2, 0));
        assert_eq!(mm.hugetlb.demote(mm, HugeSize::G1, 1), demoted(0));
        grow(mm, HugeSize::K64, 0);
    });
}

/// What is mapped or promised is not divided, surplus or not; and pieces serve faults, whole and zeroed.
#[test]
fn what_is_used_or_promised_stays() {
    for size in [HugeSize::M2, HugeSize::M32] {
        machine(size).boot(|mm, _| {
            grow(mm, size, 3);
            let space = mm.new_space().unwrap();
            let map = |size: HugeSize, pages: u64| {
                let huge = flags(size);
                mm.mmap(&space, &MmapRequest::anonymous(pages * size.bytes(), RW).with(huge)).unwrap()
            };
            let start = map(size, 2);
            mm.write_user(&space, start.add(5), &[7]).unwrap();
            assert_eq!(mm.hugetlb.counts(size), counts(3, 2, 1));
            mm.hugetlb.set_demote_size(mm, size, HugeSize::K64).unwrap();
            assert_eq!(mm.hugetlb.demote(mm, size, 3), demoted(1), "{size}");
            assert_eq!(mm.hugetlb.counts(size), counts(2, 1, 1));
            assert_eq!(mm.hugetlb.demote(mm, size, 1), demoted(0));
            mm.write_user(&space, start.add(size.bytes()), &[8]).unwrap();
            // In use and surplus.
            assert_eq!(mm.hugetlb.set_nr(mm, size, 0).persistent, 0);
            assert_eq!(mm.hugetlb.demote(mm, size, 1), demoted(0));
            assert_eq!(mm.hugetlb.counts(size), Counts { surplus: 2, ..counts(2, 0, 0) });
            let ratio = size.bytes() / HugeSize::K64.bytes();
            let small = map(HugeSize::K64, ratio);
            for n in 0..ratio {
                let mut seen = [1];
                mm.read_user(&space, small.add((n + 1) * HugeSize::K64.bytes() - 1), &mut seen).unwrap();
                assert_eq!(seen, [0]);
                mm.write_user(&space, small.add(n * HugeSize::K64.bytes()), &[n as u8]).unwrap();
            }
            assert_eq!(mm.hugetlb.counts(HugeSize::K64), counts(ratio, 0, 0));
            mm.check_all().unwrap();
            let mut seen = [0];
            mm.read_user(&space, start.add(5), &mut seen).unwrap();
            assert_eq!(seen, [7]);
            mm.destroy_space(&space);
            assert_eq!(mm.hugetlb.counts(HugeSize::K64), counts(ratio, ratio, 0));
            grow(mm, size, 0);
            grow(mm, HugeSize::K64, 0);
        });
    }
}

/// Takes single pages until none is left, not even of what is kept back for vmemmap.
fn hoard(mm: &Mm) -> Vec<FolioRef> {
    core::iter::from_fn(|| mm.alloc_pages(Order::PAGE, PageKind::Vmemmap).ok()).collect()
}

/// A folio whose struct pages cannot be had stays whole, optimised and in its pool; those before it are divided, and
/// the caller is told both.
#[test]
fn demotion_ends_where_memory_does() {
    for &tails in TailEncoding::ALL {
        Builder::new().ram_mib(32).config(|config| config.tails = tails).boot(|mm, _| {
            let size = HugeSize::M2;
            grow(mm, size, 4);
            let mut hoard = hoard(mm);
            hoard.drain(..15).for_each(|page| mm.free_pages(page, Order::PAGE));
            let outcome = Demoted { unrestored: Some(HvoError::OutOfMemory), ..demoted(2) };
            assert_eq!(mm.hugetlb.demote(mm, size, 3), outcome);
            assert_eq!(mm.hugetlb.counts(size), counts(2, 2, 0));
            assert_eq!(mm.hugetlb.counts(HugeSize::K64), counts(64, 64, 0));
            assert_eq!(mm.stats.get(Counter::NrHvoOptimized), 2);
            hoard.into_iter().for_each(|page| mm.free_pages(page, Order::PAGE));
            mm.check_all().unwrap();
            assert_eq!(mm.hugetlb.demote(mm, size, 3), demoted(2));
            grow(mm, HugeSize::K64, 0);
        });
    }
}

/// New folios of 2 MiB are optimised if and only if the switch is on.
#[test]
fn the_switch_decides_about_pieces() {
    for (switch, optimized) in [(Switch::On, 16), (Switch::Off, 0)] {
        machine(HugeSize::M32).boot(|mm, _| {
            grow(mm, HugeSize::M32, 1);
            mm.hvo.set_switch(mm, switch).unwrap();
            assert_eq!(mm.hugetlb.demote(mm, HugeSize::M32, 1), demoted(1));
            assert_eq!(mm.stats.get(Counter::NrHvoOptimized), optimized);
            mm.check_all().unwrap();
            grow(mm, HugeSize::M2, 0);
        });
    }
    machine(HugeSize::M32).config(|config| config.hvo = HvoStrategy::Off).boot(|mm, _| {
        grow(mm, HugeSize::M32, 1);
        assert_eq!(mm.hugetlb.demote(mm, HugeSize::M32, 1), demoted(1));
        assert_eq!(mm.hugetlb.demote(mm, HugeSize::M2, 16), demoted(16));
        assert_eq!(mm.hugetlb.counts(HugeSize::K64), counts(512, 512, 0));
        grow(mm, HugeSize::K64, 0);
    });
}

/// Whichever allocation fails, of a restore or of the optimisation of a piece, every folio is whole in one of the
/// pools, and no page is lost.
#[test]
fn every_allocation_may_fail() {
    for variant in Variant::defaults() {
        let setup = |mm: &Mm| grow(mm, HugeSize::M2, 2);
        let failed = fail_every_allocation(&variant.builder(), setup, |mm, ()| {
            let outcome = mm.hugetlb.demote(mm, HugeSize::M2, 2);
            mm.check_all().unwrap();
            let (nr, small) = (2 - outcome.folios, 32 * outcome.folios);
            assert_eq!(mm.hugetlb.counts(HugeSize::M2), counts(nr, nr, 0));
            assert_eq!(mm.hugetlb.counts(HugeSize::K64), counts(small, small, 0));
            grow(mm, HugeSize::M2, 0);
            grow(mm, HugeSize::K64, 0);
            if outcome == demoted(2) { Ok(()) } else { Err(outcome) }
        });
        // Of the restore: 7 pages and a list of frames for each, the lists of plans and of runs.
        assert_eq!(failed, 2 * (7 + 1) + 2, "{variant:?}");
    }
}

/// One divides, one resizes both pools, one promises and touches: no folio, promise or page is lost.
#[test]
fn demotions_faults_and_resizes_at_once() {
    for seed in 0..20 {
        let seeded = |desc: &mut MachineDesc| desc.seed = seed;
        machine(HugeSize::M2).cpus(3).machine(seeded).boot(|mm, _| {
            grow(mm, HugeSize::M2, 5);
            reserve(mm, HugeSize::M2, 1).unwrap();
            let space = &mm.new_space().unwrap();
            let touch: Job<'_> = Box::new(move || {
                for size in [HugeSize::M2, HugeSize::K64, HugeSize::M2, HugeSize::K64] {
                    let huge = flags(size);
                    let Ok(start) = mm.mmap(space, &MmapRequest::anonymous(2 * size.bytes(), RW).with(huge))
                    else {
                        continue;
                    };
                    // What mmap has promised is there.
                    mm.write_user(space, start, &[1]).unwrap();
                    Machine::relax();
                    mm.write_user(space, start.add(size.bytes()), &[1]).unwrap();
                    mm.munmap(space, start.raw(), size.bytes()).unwrap();
                }
            });
            let demote: Job<'_> = Box::new(move || {
                for n in [1, 2, 1] {
                    let _ = mm.hugetlb.demote(mm, HugeSize::M2, n);
                    Machine::relax();
                }
            });
            let resize: Job<'_> = Box::new(move || {
                for n in [3, 6, 4] {
                    let _ = mm.hugetlb.set_nr(mm, HugeSize::M2, n);
                    let _ = mm.hugetlb.set_nr(mm, HugeSize::K64, n);
                    Machine::relax();
                }
            });
            run_on_cpus(vec![touch, demote, resize]);
            assert!(mm.hugetlb.counts(HugeSize::M2).reserved >= 1, "seed {seed}");
            unreserve(mm, HugeSize::M2, 1);
            mm.check_all().unwrap_or_else(|wrong| panic!("seed {seed}: {wrong}"));
            mm.destroy_space(space);
            for size in [HugeSize::M2, HugeSize::K64] {
                grow(mm, size, 0);
                assert_eq!(mm.hugetlb.counts(size), counts(0, 0, 0), "seed {seed}");
            }
        });
    }
}
