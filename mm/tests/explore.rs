//! Every schedule of small cases, up to a number of switches: what seeds find by luck is looked for one by one, and
//! the exploration says that it came to an end.

use arch::model::{Bounds, Job, explore_runs, run_on_cpus, user_load, user_store};
use mm::config::ThpMode;
use mm::space::{Advice, MapFlags, MapProt, MmapRequest};
use mm::testkit::{Builder, run_as_user};

const RW: MapProt = MapProt::READ.union(MapProt::WRITE);
/// Deviations from the plain course that a run may have: a switch, or a stale entry where a fresh one is there.
const SWITCHES: usize = 2;
/// More runs than any case has.
const RUNS: u64 = 200_000;

fn machine() -> Builder {
    Builder::new().ram_mib(16).config(|config| config.thp = ThpMode::Never)
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
