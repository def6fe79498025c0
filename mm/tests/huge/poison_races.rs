//! Memory that fails while four vCPUs use it: they touch, fork, give up, move, collapse, and let other pages fail.

use arch::addr::PAGE_SIZE;
use arch::contract::Cpu;
use arch::model::{Job, MachineDesc, run_on_cpus};
use arch::{Machine, Pfn, VirtAddr};
use mm::Mm;
use mm::config::{Hgm, HvoStrategy, Mapcount, MmConfig};
use mm::fault::FaultReason;
use mm::hugetlb::poison::{Outcome, PoisonError};
use mm::hugetlb::{HugeSize, take_spare};
use mm::kalloc::KArc;
use mm::page::{PageKind, page_of};
use mm::report::pagemap;
use mm::rmap::{MoveWhat, drop_target, migrate_folio};
use mm::space::{AddressSpace, Advice, MapFlags, MmapRequest};
use mm::testkit::Random;

use crate::poison_kit::*;

/// Runs of each size. A page of 32 MiB takes long to zero and to copy.
const RUNS: [(HugeSize, u64); 3] = [(HugeSize::K64, 200), (HugeSize::M2, 100), (HugeSize::M32, 10)];

/// A frame that is mapped at `va` at this moment.
fn frame_now(mm: &Mm, space: &KArc<AddressSpace>, va: VirtAddr) -> Option<Pfn> {
    let mut word = [0];
    mm.read_pagemap(space, va.raw() / PAGE_SIZE, &mut word);
    (word[0] & pagemap::PRESENT != 0).then(|| Pfn::new(word[0] & pagemap::PFN))
}

/// Lets what is mapped at `va` fail, and notes it.
fn fail_at(mm: &Mm, space: &KArc<AddressSpace>, va: VirtAddr) -> Option<Pfn> {
    let pfn = frame_now(mm, space, va)?;
    match mm.memory_failure(pfn) {
        Ok(Outcome::Known) => None,
        Ok(_) => Some(pfn),
        // It has gone back meanwhile.
        Err(PoisonError::NotHugetlb(..)) => None,
        Err(error) => panic!("{error}"),
    }
}

fn move_at(mm: &Mm, size: HugeSize, space: &KArc<AddressSpace>, va: VirtAddr) {
    let Some(folio) = frame_now(mm, space, va).and_then(|pfn| mm.try_get_folio(pfn)) else { return };
    let target = (folio.kind() == PageKind::Hugetlb).then(|| take_spare(mm, size, |_| true)).flatten();
    match target {
        None => mm.put_folio(folio),
        Some(target) => {
            if let Err(not_moved) = migrate_folio(mm, folio, target, MoveWhat::All) {
                drop_target(mm, not_moved.target);
            }
        }
    }
}

fn is_fair(outcome: Result<(), FaultReason>, size: HugeSize) {
    let fair = [lost(size), FaultReason::PAGE_FAILURE, FaultReason::HugetlbEmpty];
    assert!(outcome.is_ok() || fair.contains(&outcome.unwrap_err()), "{outcome:?}");
}

/// Private and shared pages fail under the hands of others: every access succeeds or is an error that is to be
/// expected, no frame is lost or used again, and promises are kept.
#[test]
fn failures_race_with_everything() {
    for (size, seeds) in RUNS {
        for seed in 0..seeds {
            let choices = move |config: &mut MmConfig| {
                config.mapcount = Mapcount::ALL[seed as usize % Mapcount::ALL.len()];
                if config.mapcount == Mapcount::ThpLike {
                    config.hvo = HvoStrategy::Off;
                }
                config.hgm = [Hgm::Sizes, Hgm::Pages, Hgm::Off][seed as usize % 3];
            };
            let set = move |desc: &mut MachineDesc| (desc.seed, desc.cpus) = (seed, 4);
            machine(size).machine(set).config(choices).boot(|mm, _| {
                grow(mm, size, if size == HugeSize::M32 { 6 } else { 8 });
                let (file, space) = (object(mm, size, 2), mm.new_space().unwrap());
                let own = mm.mmap(&space, &private(size, 2)).unwrap();
                let all = mm.mmap_object(&space, &shared(size, 2), &file).unwrap();
                let again = mm.mmap_object(&space, &shared(size, 2), &file).unwrap();
                let copying = MmapRequest { flags: MapFlags::PRIVATE, ..shared(size, 2) };
                let copies = mm.mmap_object(&space, &copying, &file).map_or(all, |copies| copies);
                let _ = mm.madvise(&space, again.raw(), 2 * size.bytes(), Advice::Split);
                let (space, file) = (&space, &file);
                let places =
                    [own, own.add(size.bytes()), all, again, again.add(size.bytes() + 5 * PAGE_SIZE), copies];
                for va in places {
                    write(mm, space, va, 1).unwrap();
                }
                let touch: Job<'_> = Box::new(move || {
                    let mut random = Random::new(seed);
                    for _ in 0..30 {
                        let va = places[random.below(6) as usize].add(random.below(3) * PAGE_SIZE);
                        is_fair(write(mm, space, va, 2), size);
                        Machine::relax();
                    }
                });
                let fail: Job<'_> = Box::new(move || {
                    let mut random = Random::new(seed + 1000);
                    for _ in 0..4 {
                        (0..random.below(8)).for_each(|_| Machine::relax());
                        let va = places[random.below(6) as usize].add(random.below(3) * PAGE_SIZE);
                        if let Some(pfn) = fail_at(mm, space, va) {
                            let head = page_of(pfn).head(mm.config.tails);
                            assert!([PageKind::Failed, PageKind::Hugetlb].contains(&head.kind()));
                        }
                    }
                });
                let change: Job<'_> = Box::new(move || {
                    let mut random = Random::new(seed + 2000);
                    for _ in 0..6 {
                        match random.below(6) {
                            5 => mm.madvise(space, copies.raw(), 2 * size.bytes(), Advice::DontNeed).unwrap(),
                            0 => mm.madvise(space, own.raw(), 2 * size.bytes(), Advice::DontNeed).unwrap(),
                            1 => mm.madvise(space, again.raw(), 2 * size.bytes(), Advice::DontNeed).unwrap(),
                            2 => drop(mm.madvise(space, again.raw(), 2 * size.bytes(), Advice::Collapse)),
                            3 => mm.punch_object(file, 0..size.order().pages()),
                            _ => {
                                let child = mm.fork_space(space).unwrap();
                                is_fair(write(mm, &child, own, 3), size);
                                is_fair(write(mm, &child, all, 3), size);
                                is_fair(write(mm, &child, copies, 3), size);
                                mm.destroy_space(&child);
                            }
                        }
                        Machine::relax();
                    }
                });
                let shake: Job<'_> = Box::new(move || {
                    let mut random = Random::new(seed + 3000);
                    for _ in 0..8 {
                        let va = places[random.below(6) as usize];
                        match random.below(3) {
                            0 => move_at(mm, size, space, va),
                            1 => drop(fail_at(mm, space, va.add(PAGE_SIZE))),
                            _ => {
                                if let Ok(pinned) = mm.pin_user_pages(space, va, 1, arch::Access::Read) {
                                    Machine::relax();
                                    mm.unpin(pinned);
                                }
                            }
                        }
                    }
                });
                run_on_cpus(vec![touch, fail, change, shake]);
                mm.check_all().unwrap_or_else(|wrong| panic!("seed {seed} {size}: {wrong}"));
                let counts = mm.hugetlb.counts(size);
                assert!(counts.reserved <= counts.free, "seed {seed} {size}: {counts:?}");
                mm.destroy_space(space);
                mm.close_object(file.share());
                mm.check_all().unwrap_or_else(|wrong| panic!("seed {seed} {size}: {wrong}"));
            });
        }
    }
}

/// A pin may go at any moment of a fork: the child gets all of a hugetlb page shared, or a copy of all of it.
#[test]
fn pins_go_while_forks_look() {
    for size in [HugeSize::K64, HugeSize::M32] {
        for seed in 0..if size == HugeSize::K64 { 60 } else { 4 } {
            let set = move |desc: &mut MachineDesc| (desc.seed, desc.cpus) = (seed, 2);
            machine(size).machine(set).boot(|mm, _| {
                grow(mm, size, 3);
                let space = mm.new_space().unwrap();
                let va = mm.mmap(&space, &private(size, 1)).unwrap();
                write(mm, &space, va, 1).unwrap();
                let space = &space;
                let pin: Job<'_> = Box::new(move || {
                    for _ in 0..12 {
                        let pinned = mm.pin_user_pages(space, va, 1, arch::Access::Read).unwrap();
                        Machine::relax();
                        mm.unpin(pinned);
                    }
                });
                let fork: Job<'_> = Box::new(move || {
                    for _ in 0..6 {
                        let child = mm.fork_space(space).unwrap();
                        for at in [va, va.add(size.bytes() - PAGE_SIZE)] {
                            assert!(read(mm, &child, at).unwrap() <= 1, "seed {seed} {size}");
                        }
                        mm.destroy_space(&child);
                    }
                });
                run_on_cpus(vec![pin, fork]);
                mm.check_all().unwrap_or_else(|wrong| panic!("seed {seed} {size}: {wrong}"));
                mm.destroy_space(space);
                assert_eq!(mm.hugetlb.counts(size), counts(3, 3, 0));
            });
        }
    }
}
