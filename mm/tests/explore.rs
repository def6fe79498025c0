//! Every schedule of small cases, up to a number of switches: what seeds find by luck is looked for one by one, and
//! the exploration says that it came to an end.

use arch::VirtAddr;
use arch::model::{Bounds, Job, explore_runs, run_on_cpus, user_load, user_store};
use mm::Mm;
use mm::config::ThpMode;
use mm::kalloc::KArc;
use mm::space::{AddressSpace, Advice, MapFlags, MapProt, MmapRequest};
use mm::testkit::{Builder, run_as_user};
use mm::thp::promoter;

const RW: MapProt = MapProt::READ.union(MapProt::WRITE);
/// Deviations from the plain course that a run may have: a switch, or a stale entry where a fresh one is there.
const SWITCHES: usize = 2;
/// More runs than any case has.
const RUNS: u64 = 200_000;

fn machine() -> Builder {
    Builder::new().ram_mib(4).config(|config| config.thp = ThpMode::Never)
}

/// One vCPU stores to a page while another drops it by MADV_DONTNEED: whatever comes between what, the word is then
/// what was stored or zero, and everything is consistent.
#[test]
fn a_store_and_a_dontneed() {
    let explored = explore_runs(Bounds { switches: SWITCHES, runs: RUNS }, || {
        machine().boot(|mm, env| {
            let space = mm.new_space().unwrap();
            let va = mm.mmap(&space, &MmapRequest::anonymous(4096, RW)).unwrap();
            run_as_user(mm, env, &space, || user_store(va, 1).unwrap());
            let jobs: Vec<Job<'_>> = vec![
                Box::new(|| run_as_user(mm, env, &space, || user_store(va, 2).unwrap())),
                Box::new(|| mm.madvise(&space, va.raw(), 4096, Advice::DontNeed).unwrap()),
            ];
            run_on_cpus(jobs);
            run_as_user(mm, env, &space, || assert!(matches!(user_load(va), Ok(0 | 2))));
            mm.destroy_space(&space);
        });
    });
    println!("a store and a DONTNEED: {explored:?}");
    assert!(explored.complete && explored.runs > 50, "{explored:?}");
}

/// One vCPU unmaps a page that another reads: the reader gets the word or a fault, and after munmap has returned
/// nobody gets the word.
#[test]
fn a_load_and_a_munmap() {
    let explored = explore_runs(Bounds { switches: SWITCHES, runs: RUNS }, || {
        machine().boot(|mm, env| {
            let space = mm.new_space().unwrap();
            let va = mm.mmap(&space, &MmapRequest::anonymous(4096, RW)).unwrap();
            run_as_user(mm, env, &space, || user_store(va, 7).unwrap());
            let jobs: Vec<Job<'_>> = vec![
                Box::new(|| {
                    run_as_user(mm, env, &space, || assert!(matches!(user_load(va), Ok(7) | Err(_))))
                }),
                Box::new(|| mm.munmap(&space, va.raw(), 4096).unwrap()),
            ];
            run_on_cpus(jobs);
            run_as_user(mm, env, &space, || assert!(user_load(va).is_err()));
            mm.destroy_space(&space);
        });
    });
    println!("a load and a munmap: {explored:?}");
    assert!(explored.complete && explored.runs > 50, "{explored:?}");
}

/// One vCPU stores to a page of an object while another takes it out, without the lock of who maps it: the store goes
/// to the page that was, or to the one that comes, and the two are never mapped at once.
#[test]
fn a_store_and_a_hole() {
    let explored = explore_runs(Bounds { switches: SWITCHES, runs: RUNS }, || {
        machine().boot(|mm, env| {
            let (space, object) = (mm.new_space().unwrap(), mm.new_object(4096).unwrap());
            let request = MmapRequest { flags: MapFlags::SHARED, ..MmapRequest::anonymous(4096, RW) };
            let va = mm.mmap_object(&space, &request, &object).unwrap();
            run_as_user(mm, env, &space, || user_store(va, 1).unwrap());
            let jobs: Vec<Job<'_>> = vec![
                Box::new(|| run_as_user(mm, env, &space, || user_store(va, 2).unwrap())),
                Box::new(|| mm.punch_object(&object, 0..1)),
            ];
            run_on_cpus(jobs);
            run_as_user(mm, env, &space, || assert!(matches!(user_load(va), Ok(0 | 2))));
            mm.destroy_space(&space);
            mm.close_object(object);
        });
    });
    println!("a store and a hole: {explored:?}");
    assert!(explored.complete && explored.runs > 50, "{explored:?}");
}

/// Who is interrupted by the other.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Interrupted {
    Promoter,
    Rival,
}

/// What races with the way back of a huge page whose child is gone: the promoter is interrupted at each of its steps by
/// `rival`, or the other way round. The page was written after the fork, so there is a stray.
fn reunite_and(
    rival: impl Fn(&Mm, &KArc<AddressSpace>, VirtAddr) + Sync,
    interrupted: &[Interrupted],
    huge: u64,
) {
    for &interrupted in interrupted {
        let explored = explore_runs(Bounds { switches: 1, runs: RUNS }, || {
            let machine = Builder::new().ram_mib(8).config(|config| config.thp = ThpMode::Always);
            machine.boot(|mm, env| {
                let space = mm.new_space().unwrap();
                let request = MmapRequest::anonymous(2 << 20, RW).fixed(1 << 30);
                let va = mm.mmap(&space, &request).unwrap();
                run_as_user(mm, env, &space, || user_store(va, 1).unwrap());
                let child = mm.fork_space(&space).unwrap();
                run_as_user(mm, env, &space, || user_store(va, 2).unwrap());
                mm.destroy_space(&child);
                let mut jobs: Vec<Job<'_>> = vec![
                    Box::new(|| {
                        promoter::drain(mm);
                    }),
                    Box::new(|| run_as_user(mm, env, &space, || rival(mm, &space, va))),
                ];
                if interrupted == Interrupted::Rival {
                    jobs.reverse();
                }
                run_on_cpus(jobs);
                promoter::drain(mm);
                assert_eq!(mm.usage(&space).anon_huge, huge);
                mm.destroy_space(&space);
            });
        });
        println!("the way back of a huge page: {explored:?}");
        assert!(explored.complete && explored.runs > 20, "{explored:?}");
    }
}

/// A store to a page of the folio, to the stray's page, and a load: each finds what was there.
#[test]
fn the_way_back_and_a_store() {
    reunite_and(
        |_, _, va| {
            user_store(va.add(8), 3).unwrap();
            assert_eq!(user_load(va), Ok(2));
            user_store(va.add(4096), 4).unwrap();
            assert_eq!((user_load(va.add(8)), user_load(va.add(4096))), (Ok(3), Ok(4)));
        },
        &[Interrupted::Promoter, Interrupted::Rival],
        512,
    );
}

/// munmap of one page: it is gone afterwards, and the others are there.
#[test]
fn the_way_back_and_a_munmap() {
    reunite_and(
        |mm, space, va| {
            mm.munmap(space, va.add(4096).raw(), 4096).unwrap();
            assert!(user_load(va.add(4096)).is_err());
            assert_eq!(user_load(va), Ok(2));
        },
        &[Interrupted::Promoter, Interrupted::Rival],
        0,
    );
}

/// A second fork: the child sees what was there, and goes on seeing it. While it runs the promoter waits for it.
#[test]
fn the_way_back_and_a_second_fork() {
    reunite_and(
        |mm, space, va| {
            let child = mm.fork_space(space).unwrap();
            user_store(va, 5).unwrap();
            let mut bytes = [0; 8];
            mm.read_user(&child, va, &mut bytes).unwrap();
            assert_eq!(u64::from_le_bytes(bytes), 2);
            mm.destroy_space(&child);
            assert_eq!(user_load(va), Ok(5));
        },
        &[Interrupted::Promoter],
        512,
    );
}
