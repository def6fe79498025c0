//! Schedules: found by seeds and by exploration, and made again from what the report prints.

use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use super::super::{Bounds, Job, MachineDesc, explore, run_on_cpus, seeds, steps, with_machine};
use super::{TABLES, with_tables};
use crate::Machine;
use crate::contract::{Cpu, Dsb, Mmu, PhysMem};
use crate::pte::Desc;
use crate::sync::{Rank, SpinLock};

/// A counter that two vCPUs raise by one each; whether both were counted.
fn count_to_two(lock: Option<&SpinLock<()>>) -> bool {
    let counter = AtomicU64::new(0);
    let raise = || {
        let _guard = lock.map(|lock| lock.lock());
        let seen = counter.load(Ordering::Relaxed);
        Machine::interleave();
        counter.store(seen + 1, Ordering::Relaxed);
    };
    run_on_cpus(vec![Box::new(raise), Box::new(raise)]);
    counter.into_inner() == 2
}

fn racy() {
    assert!(count_to_two(None), "an update was lost");
}

const ONE_SWITCH: Bounds = Bounds { switches: 1, runs: 1000 };

/// An update that is lost only where a vCPU is interrupted between read and write is found with one switch.
#[test]
#[should_panic(expected = "an update was lost")]
fn exploration_finds_a_lost_update() {
    explore(MachineDesc::DEFAULT, ONE_SWITCH, racy);
}

/// Without any switch of choice the vCPUs run one after the other.
#[test]
fn without_switches_there_is_one_run() {
    let explored = explore(MachineDesc::DEFAULT, Bounds { switches: 0, runs: 1000 }, racy);
    assert_eq!((explored.runs, explored.complete), (1, true));
}

/// With a lock nothing is lost in any schedule of up to three switches, and all of them are tried.
#[test]
fn a_locked_counter_is_explored_completely() {
    let mut runs = Vec::new();
    for switches in 0..=3 {
        let bounds = Bounds { switches, runs: 100_000 };
        let explored = explore(MachineDesc::DEFAULT, bounds, || {
            assert!(count_to_two(Some(&SpinLock::new(Rank(1), ()))));
        });
        assert!(explored.complete && explored.steps > explored.runs, "{explored:?}");
        runs.push(explored.runs);
    }
    assert!(runs.is_sorted_by(|a, b| a < b), "{runs:?}");
}

/// An exploration ends at the bound of its runs and says that it is not complete.
#[test]
fn an_exploration_is_bounded() {
    let bounds = Bounds { switches: 3, runs: 5 };
    let explored = explore(MachineDesc::DEFAULT, bounds, || {
        count_to_two(Some(&SpinLock::new(Rank(1), ())));
    });
    assert_eq!((explored.runs, explored.complete), (5, false));
}

/// Something outside the machine that decides what happens is noticed.
#[test]
#[should_panic(expected = "something outside the machine decides what happens")]
fn an_exploration_must_be_deterministic() {
    let run = AtomicU64::new(0);
    let desc = MachineDesc { cpus: 3, ..MachineDesc::DEFAULT };
    explore(desc, ONE_SWITCH, || {
        let jobs = if run.fetch_add(1, Ordering::Relaxed) == 0 { 3 } else { 2 };
        run_on_cpus((0..jobs).map(|_| -> Job<'_> { Box::new(Machine::interleave) }).collect());
    });
}

/// Among a hundred seeds some lose the update and some do not, and each does the same when it comes again.
#[test]
fn seeds_find_a_lost_update_and_repeat_it() {
    let lost = |seed| with_machine(MachineDesc { seed, ..MachineDesc::DEFAULT }, || !count_to_two(None));
    let found: Vec<_> = (0..100).map(lost).collect();
    assert_eq!(found, (0..100).map(lost).collect::<Vec<_>>());
    let number = found.iter().filter(|&&lost| lost).count();
    assert!((5..95).contains(&number), "{number} of 100 seeds lose the update");
}

/// Two loads of a walk may see a table before and after two stores of another vCPU.
#[test]
fn reads_can_be_torn() {
    let torn = |seed| {
        let seen = Mutex::new((0, 0));
        with_tables(MachineDesc { seed, ..MachineDesc::DEFAULT }, |_| {
            let at = |n: u64| TABLES.add((8 << 20) + 8 * n);
            let write = || (0..2).for_each(|n| Machine::write_desc(at(n), Desc::from_raw(2)));
            let read = || {
                let first = Machine::read_desc(at(0)).raw();
                *seen.lock().unwrap() = (first, Machine::read_desc(at(1)).raw());
            };
            run_on_cpus(vec![Box::new(write), Box::new(read)]);
        });
        seen.into_inner().unwrap() == (0, 2)
    };
    assert!((0..1000).any(torn));
}

/// The order in which four vCPUs came by, and what it took.
fn order(seed: u64) -> (Vec<usize>, super::super::Steps) {
    let order = Mutex::new(Vec::new());
    let figures = with_machine(MachineDesc { seed, cpus: 4, ..MachineDesc::DEFAULT }, || {
        let job = || {
            for _ in 0..50 {
                order.lock().unwrap().push(Machine::id().index());
                Machine::interleave();
            }
        };
        run_on_cpus((0..4).map(|_| -> Job<'_> { Box::new(job) }).collect());
        steps()
    });
    (order.into_inner().unwrap(), figures)
}

/// A seed is a schedule: the same again, another for another seed; and the counters count.
#[test]
fn a_seed_is_a_schedule() {
    assert_eq!(order(3), order(3));
    let different: std::collections::HashSet<_> = (0..20).map(|seed| order(seed).0).collect();
    assert_eq!(different.len(), 20);
    let (_, figures) = order(3);
    assert_eq!((figures.schedules, figures.steps), (1, 200));
    assert!((1..200).contains(&figures.switches), "{figures:?}");
}

/// Over a few seeds a vCPU is both interrupted at once and left alone for long.
#[test]
fn moods_differ() {
    let longest = |seed| order(seed).0.chunk_by(|a, b| a == b).map(<[usize]>::len).max().unwrap();
    let longest: Vec<_> = (0..30).map(longest).collect();
    assert!(longest.iter().any(|&n| n < 15) && longest.contains(&50), "{longest:?}");
}

/// Not a test of its own: fails as `MMU_SEED` says, for those below.
#[test]
#[ignore = "fails on purpose, in a process of its own"]
fn victim() {
    with_tables(MachineDesc::DEFAULT, |_| {
        Machine::write_desc(TABLES.add(8 << 20), Desc::from_raw(0x42));
        Machine::dsb(Dsb::IshSt);
        println!("seeds: {:?}", seeds(3).collect::<Vec<_>>());
        racy();
        panic!("nothing was lost");
    });
}

/// As [`victim`], found by an exploration.
#[test]
#[ignore = "fails on purpose, in a process of its own"]
fn explored_victim() {
    explore(MachineDesc::DEFAULT, ONE_SWITCH, racy);
}

/// What a test that fails on purpose says under `MMU_SEED`.
fn words_of(test: &str, seed: Option<&str>) -> String {
    let mut command = Command::new(std::env::current_exe().unwrap());
    let name = format!("model::tests::replay::{test}");
    command.args(["--exact", &name, "--ignored", "--nocapture"]).env_remove("MMU_SEED");
    command.envs(seed.map(|seed| ("MMU_SEED", seed)));
    let output = command.output().unwrap();
    assert!(!output.status.success(), "{test} with {seed:?} passes");
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// From the heading of the report to its end.
fn report(words: &str) -> Vec<&str> {
    let heading = |line: &&str| *line == "last 30 steps:";
    assert_eq!(words.lines().filter(heading).count(), 1, "{words}");
    let mut lines: Vec<_> = words.lines().skip_while(|line| !heading(line)).collect();
    let end = lines.iter().position(|line| line.starts_with("MMU_SEED=")).expect("a seed is printed");
    lines.truncate(end + 1);
    lines
}

/// A machine that ends by a panic prints its last steps with their places, and its seed; once. With that seed the
/// same steps are made again.
#[test]
fn the_report_replays() {
    let words = words_of("victim", Some("0x5"));
    assert!(words.contains("seeds: [5]"), "{words}");
    let lines = report(&words);
    assert_eq!(lines.last(), Some(&"MMU_SEED=5"));
    let store = lines.iter().find(|line| line.contains("store")).expect("the store is in the report");
    assert!(
        store.contains("vCPU 0  store 0x0000000000000042 over 0x0000000000000000 at 0x0000000040800000"),
        "{store}"
    );
    assert!(store.contains("model/tests/replay.rs:"), "{store}");
    assert!(lines.iter().any(|line| line.contains("vCPU 0  DSB ISHST")), "{lines:?}");
    assert_eq!(lines, report(&words_of("victim", Some("5"))));
}

/// The path that a failing exploration prints is the run that failed.
#[test]
fn the_path_of_an_exploration_replays() {
    let words = words_of("explored_victim", None);
    assert!(words.contains("an update was lost"), "{words}");
    let lines = report(&words);
    let path = lines.last().and_then(|line| line.strip_prefix("MMU_SEED=")).unwrap();
    assert!(path.starts_with("path:"), "{path}");
    let again = words_of("explored_victim", Some(path));
    assert!(again.contains("an update was lost"), "{again}");
    assert_eq!(lines, report(&again));
}

/// A path that asks for what is not there, and a seed that is none, are refused in words.
#[test]
fn wrong_seeds_end_the_test_in_words() {
    let words = words_of("victim", Some("abc"));
    let refusal = "MMU_SEED is \"abc\": a decimal number, 0x… or path:… is expected";
    assert!(words.contains(refusal), "{words}");
    let words = words_of("victim", Some("path:99"));
    assert!(words.contains("model: choice 0 is 99, only 2 are possible"), "{words}");
}
