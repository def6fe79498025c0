//! khugepaged beside what may come between: every schedule where no range is looked at, and random ones where one is
//! copied.

use arch::model::{Bounds, Job, explore_runs, run_on_cpus};

use super::*;
use crate::config::{HugePages, Number, ThpMode};
use crate::testkit::run_as_user;
use crate::thp::khugepaged;

/// More runs than the case has.
const RUNS: u64 = 200_000;
/// Random schedules of a case.
const SEEDS: u64 = 30;

fn machine() -> Builder {
    Builder::new()
        .ram_mib(16)
        .config(|config| (config.thp, config.hugepages) = (ThpMode::Defer, HugePages::NONE))
}

/// A space with one range, of which the first page holds a word.
fn space(mm: &Mm) -> KArc<AddressSpace> {
    let space = mm.new_space().unwrap();
    let request = MmapRequest::anonymous(RANGE_BYTES, MapProt::READ | MapProt::WRITE);
    mm.mmap(&space, &request.fixed(BASE.raw())).unwrap();
    mm.write_user(&space, BASE, &word(0).to_le_bytes()).unwrap();
    space
}

/// Boots, runs, and looks that all pages are back; the full check comes at the end of each machine.
fn once(machine: Builder, run: &impl Fn(&Mm, &'static HostEnv)) {
    machine.boot(|mm, env| {
        let free = mm.free_page_count();
        run(mm, env);
        assert_eq!(mm.free_page_count() + mm.huge_zero.kept_pages(), free, "pages are missing");
    });
}

/// Under random schedules.
fn with_seeds(run: impl Fn(&Mm, &'static HostEnv)) {
    for seed in model::seeds(SEEDS) {
        once(machine().machine(|desc| desc.seed = seed), &run);
    }
}

/// Of three spaces the one ends in which the cursor stands, or the next one, while a scan goes over all of them:
/// nothing keeps a share of it, and the scan after sees each of the others.
#[test]
fn spaces_end_under_the_cursor() {
    for gone in 0..3 {
        let run = |mm: &Mm, _| {
            // Each space is looked at, and none is collapsed.
            mm.thp.set_number(Number::MaxPtesNone, "0").unwrap();
            let spaces = [(); 3].map(|()| mm.new_space().unwrap());
            let request = MmapRequest::anonymous(PAGE_SIZE, MapProt::READ);
            for space in &spaces {
                mm.mmap(space, &request.fixed(BASE.raw())).unwrap();
            }
            khugepaged::scan(mm, 2);
            let jobs: Vec<Job<'_>> = vec![
                Box::new(|| {
                    khugepaged::scan(mm, 100);
                }),
                Box::new(|| mm.destroy_space(&spaces[gone])),
            ];
            run_on_cpus(jobs);
            assert_eq!(KArc::owners(&spaces[gone]), 1, "somebody keeps a share of the space that has ended");
            let before = khugepaged::full_scans(mm);
            khugepaged::scan(mm, 100);
            assert_eq!(khugepaged::full_scans(mm), before + 1);
            let others = spaces.iter().enumerate().filter(|&(n, _)| n != gone);
            others.for_each(|(_, space)| mm.destroy_space(space));
        };
        // No page is collapsed, so that the least machine that boots will do.
        let small = || machine().ram_mib(4);
        let explored = explore_runs(Bounds { switches: 2, runs: RUNS }, || once(small(), &run));
        println!("a scan and the end of a space: {explored:?}");
        assert!(explored.complete && explored.runs > 500, "{explored:?}");
    }
}

/// All spaces end, one after the other, while a scan after the other goes over what is left: nothing keeps a share.
#[test]
fn all_spaces_end_under_scans() {
    with_seeds(|mm, _| {
        mm.thp.set_number(Number::MaxPtesNone, "0").unwrap();
        let spaces = [(); 4].map(|()| mm.new_space().unwrap());
        let jobs: Vec<Job<'_>> = vec![
            Box::new(|| {
                for pages in 0..60 {
                    khugepaged::scan(mm, 1 + pages % 3);
                }
            }),
            Box::new(|| spaces.iter().rev().for_each(|space| mm.destroy_space(space))),
        ];
        run_on_cpus(jobs);
        assert_eq!(spaces.each_ref().map(KArc::owners), [1; 4], "shares of spaces that have ended");
    });
}

/// A space ends at any moment of the collapse of its only range.
#[test]
fn a_space_ends_under_a_collapse() {
    with_seeds(|mm, _| {
        let space = space(mm);
        let jobs: Vec<Job<'_>> = vec![
            Box::new(|| {
                khugepaged::scan(mm, 512);
            }),
            Box::new(|| mm.destroy_space(&space)),
        ];
        run_on_cpus(jobs);
        assert_eq!(KArc::owners(&space), 1);
    });
}

/// A store comes at any moment of a collapse: it is there afterwards, and so is what was there before.
#[test]
fn a_store_under_a_collapse() {
    with_seeds(|mm, env| {
        let space = space(mm);
        let jobs: Vec<Job<'_>> = vec![
            Box::new(|| {
                khugepaged::scan(mm, 512);
            }),
            Box::new(|| {
                run_as_user(mm, env, &space, || {
                    model::user_store(va(0), 7).unwrap();
                    model::user_store(va(1), 8).unwrap();
                });
            }),
        ];
        run_on_cpus(jobs);
        for (page, value) in [(0, 7), (1, 8), (2, 0)] {
            let mut bytes = [0; 8];
            mm.read_user(&space, va(page), &mut bytes).unwrap();
            assert_eq!(u64::from_le_bytes(bytes), value, "page {page}");
        }
        mm.destroy_space(&space);
    });
}

/// The VMA goes, or may have no huge page any more, between the look and the collapse.
#[test]
fn a_vma_changes_under_a_collapse() {
    for unmaps in [true, false] {
        with_seeds(|mm, _| {
            let space = space(mm);
            let jobs: Vec<Job<'_>> = vec![
                Box::new(|| {
                    khugepaged::scan(mm, 512);
                }),
                Box::new(|| {
                    let (at, advice) = (va(100).raw(), crate::space::Advice::NoHugePage);
                    if unmaps {
                        mm.munmap(&space, at, PAGE_SIZE).unwrap();
                    } else {
                        mm.madvise(&space, at, PAGE_SIZE, advice).unwrap();
                    }
                }),
            ];
            run_on_cpus(jobs);
            assert_eq!(space.vma_at(va(100)).is_none(), unmaps);
            let leaf = space.ptl.lock().walk(va(0)).leaf().unwrap();
            assert_eq!(leaf.level, Level::L3, "a block that reaches beyond its VMA");
            assert_eq!(khugepaged::scan(mm, 1024), 0, "the range has lost a page, or the right");
            mm.destroy_space(&space);
        });
    }
}

/// Two scans at a time: a range is collapsed once.
#[test]
fn two_scans() {
    with_seeds(|mm, _| {
        let space = space(mm);
        let jobs: Vec<Job<'_>> = vec![
            Box::new(|| {
                khugepaged::scan(mm, 512);
            }),
            Box::new(|| {
                khugepaged::scan(mm, 512);
            }),
        ];
        run_on_cpus(jobs);
        assert_eq!(khugepaged::pages_collapsed(mm), 1);
        mm.destroy_space(&space);
    });
}
