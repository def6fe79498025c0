//! Nobody sleeps for ever.

use arch::addr::PAGE_SIZE;
use arch::model::{Bounds, Job, explore_runs, run_on_cpus, user_load};
use mm::config::HvoStrategy;
use mm::env::Killed;
use mm::fault::{FaultReason, Signal};
use mm::space::{Advice, MremapRequest, RemapFlags};
use mm::testkit::Builder;
use mm::userfault::Wake;

use super::stage::*;

/// Whoever takes the registration away, or the mapping, lets those go on who wait there: they find the page, or
/// nothing.
#[test]
fn whoever_takes_the_registration_away_wakes() {
    let finds_a_page = |_: &Stage<'_>| assert_eq!(user_load(at(1)), Ok(0));
    let finds_nothing = |stage: &Stage<'_>| {
        assert!(user_load(at(1)).is_err());
        assert_eq!(stage.env.last_fault().unwrap().reason, FaultReason::NoVma);
    };
    while_one_waits(finds_a_page, |stage| {
        stage.next();
        stage.mm.unregister_userfault(&stage.context, pages(1..2)).unwrap();
        assert_eq!(stage.registered(), [true, false, true, true]);
    });
    while_one_waits(finds_a_page, |stage| {
        stage.next();
        stage.mm.close_userfault(&stage.context);
        assert_eq!(stage.registered(), [false; 4]);
    });
    while_one_waits(finds_nothing, |stage| {
        stage.next();
        stage.mm.munmap(&stage.space, BASE, 2 * BYTES).unwrap();
    });
    while_one_waits(finds_nothing, |stage| {
        stage.next();
        let flags = RemapFlags::MAYMOVE | RemapFlags::FIXED;
        let request = MremapRequest {
            addr: BASE,
            old_len: PAGES * BYTES,
            new_len: PAGES * BYTES,
            flags,
            new_addr: ELSEWHERE,
        };
        let moved = stage.mm.mremap(&stage.space, &request).unwrap();
        assert_eq!(moved.raw(), ELSEWHERE);
        assert_eq!(stage.space.vma_at(moved).unwrap().userfault, None);
    });
    // Another mapping takes the place.
    while_one_waits(finds_a_page, |stage| {
        stage.next();
        stage.mm.mmap_object(&stage.space, &shared(PAGES, BASE), &stage.object).unwrap();
    });
}

/// A fault that waits for a whole page is told anew, of its 4 KiB, when smaller entries come to be permitted: who
/// serves it may continue no more than that.
#[test]
fn a_split_lets_a_fault_be_told_anew() {
    let far = at(1).add(5 * PAGE_SIZE);
    let finds = move |_: &Stage<'_>| assert_eq!(user_load(far), Ok(0));
    while_one_waits(finds, |stage| {
        assert_eq!(stage.next().page, at(1));
        stage.mm.madvise(&stage.space, at(1).raw(), BYTES, Advice::Split).unwrap();
        let piece = far.align_down(PAGE_SIZE)..far.align_down(PAGE_SIZE).add(PAGE_SIZE);
        let done = stage.mm.continue_userfault(&stage.context, piece, Wake::Now);
        assert_eq!(done, (PAGE_SIZE, Ok(())));
    });
}

/// A thread whose process is to end leaves; the fault does not wait any more, and the page can be had by others.
#[test]
fn who_is_killed_leaves() {
    for seed in 0..20 {
        seeded(seed).boot(|mm, env| {
            let stage = Stage::new(mm, env);
            let stage_ref = &stage;
            let kill: Job<'_> = Box::new(move || {
                stage_ref.next();
                env.kill(1);
            });
            let wait: Job<'_> = Box::new(move || {
                stage_ref.as_user(|| assert!(user_load(at(0)).is_err()));
            });
            run_on_cpus(vec![kill, wait]);
            let last = env.last_fault().unwrap();
            assert_eq!((last.reason, last.signal()), (FaultReason::Killed, Signal::Ending));
            assert_eq!(stage.context.waiting(), 0);
            stage.serve(0);
            stage.as_user(|| assert_eq!(user_load(at(0)), Ok(WORD)));
            stage.end();
        });
    }
}

/// Whoever waits for a fault is woken by the end of the context, or by his own.
#[test]
fn a_server_does_not_wait_for_ever() {
    for seed in 0..20 {
        seeded(seed).boot(|mm, env| {
            let stage = Stage::new(mm, env);
            let stage_ref = &stage;
            let serve: Job<'_> = Box::new(move || {
                assert_eq!(stage_ref.context.wait_for_fault(mm), Ok(()));
                assert!(stage_ref.context.is_ended());
            });
            let end: Job<'_> = Box::new(move || {
                env.kill(2);
                mm.close_userfault(&stage_ref.context);
            });
            // He may come to see the end first.
            let killed: Job<'_> = Box::new(move || {
                let waited = stage_ref.context.wait_for_fault(mm);
                assert!(waited == Err(Killed) || stage_ref.context.is_ended());
            });
            run_on_cpus(vec![end, serve, killed]);
            stage.end();
        });
    }
}

/// Who takes part in a race beside the one who touches a page.
type Rival = fn(&Stage<'_>);

/// Every schedule of a touch and of each who lets it go on, up to two switches, or one where he is first: nobody sleeps
/// for ever, and the touch finds the page, with its content where that was served.
#[test]
fn no_wake_up_is_lost() {
    let rivals: [(&str, Rival); 4] = [
        ("continue", |stage| stage.serve(0)),
        ("unregister", |stage| stage.mm.unregister_userfault(&stage.context, pages(0..PAGES)).unwrap()),
        ("close", |stage| stage.mm.close_userfault(&stage.context)),
        ("munmap", |stage| stage.mm.munmap(&stage.space, BASE, PAGES * BYTES).unwrap()),
    ];
    let small = Builder::new().ram_mib(4).config(|config| config.hvo = HvoStrategy::Off);
    for (name, rival) in rivals {
        for (first, switches) in [(0, 2), (1, 1)] {
            let explored = explore_runs(Bounds { switches, runs: 200_000 }, || {
                small.clone().boot(|mm, env| {
                    let stage = Stage::new(mm, env);
                    let stage_ref = &stage;
                    let touch: Job<'_> = Box::new(move || {
                        stage_ref.as_user(|| assert!(matches!(user_load(at(0)), Ok(0 | WORD) | Err(_))));
                    });
                    let mut jobs: Vec<Job<'_>> = vec![touch, Box::new(move || rival(stage_ref))];
                    jobs.rotate_left(first);
                    run_on_cpus(jobs);
                    assert_eq!(stage.context.waiting(), 0);
                    stage.end();
                });
            });
            println!("a touch and {name}: {explored:?}");
            assert!(explored.complete && explored.runs > 10, "{name}: {explored:?}");
        }
    }
}
