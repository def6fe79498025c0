//! Every scenario of the test kit with a fixed handful of seeds; `make soak` runs them with fresh ones.
//!
//! `MMU_SEED=…` in the environment replays that one seed.

use std::panic::{catch_unwind, resume_unwind};

use arch::model::seeds;
use mm::testkit::scenario;

/// Runs a scenario with `n` seeds.
fn explore(name: &str, n: u64) {
    let Some(scenario) = scenario::find(name) else { panic!("no scenario {name}") };
    let mut steps = 0;
    for seed in seeds(n) {
        match catch_unwind(|| (scenario.run)(seed)) {
            Ok(ran) => steps += ran.steps,
            Err(panic) => {
                println!("scenario {name}, seed {seed}; again by: MMU_SEED={seed} make soak ONLY={name}");
                resume_unwind(panic);
            }
        }
    }
    println!("scenario {name}: {steps} steps");
}

/// Spaces come and go while vCPUs switch between them; everybody reads what he wrote, and obeys what calls returned.
#[test]
fn mixed() {
    explore("mixed", 60);
}

/// Four threads race on the same few pages: what munmap and mprotect took away is gone for all when they return.
#[test]
fn shared() {
    explore("shared", 90);
}

/// A program never reads by an ASID what another program with that ASID had.
#[test]
fn asid() {
    explore("asid", 40);
}

/// Promotion in place loses nothing, whoever faults, unmaps, protects or discards meanwhile.
#[test]
fn promotion() {
    explore("promotion", 30);
}

/// A space may end at any moment of a promotion, and takes its requests with it.
#[test]
fn exit() {
    explore("exit", 40);
}

/// Reservations give way to whoever needs memory, and no access fails for want of what they hold.
#[test]
fn pressure() {
    explore("pressure", 40);
}

/// hugetlb folios are exactly accounted for and zeroed while the pool is resized.
#[test]
fn hugetlb() {
    explore("hugetlb", 40);
}

/// What is written to an object of hugetlb pages, of any size, by mappings shared and private, is read there and
/// nowhere else, whoever forks, truncates, punches, protects, moves, demotes or ends; the pools have all back.
#[test]
fn sizes() {
    explore("sizes", 40);
}

/// Walkers of all pfns never fault and lose no reference while folios are optimised and restored.
#[test]
fn hvo() {
    explore("hvo", 40);
}

/// Readers without a lock are told no more than there is, and never fault, while spaces change, fork and end.
#[test]
fn report() {
    explore("report", 40);
}

/// What fork shares is read by nobody as another has written it since, whoever writes, protects, promotes or ends
/// first.
#[test]
fn fork() {
    explore("fork", 60);
}

/// Four vCPUs write to huge pages that a child shares, end it, promote and fork again: what the parent wrote stays, and
/// the child sees what was there at the fork.
#[test]
fn snapshot() {
    explore("snapshot", 60);
}

/// Frames move, folios are split and memory is compacted under loads, stores, forks and changes: nothing is lost.
#[test]
fn migration() {
    explore("migration", 40);
}

/// Groups unfold, change and move under loads, stores and forks: nothing is lost, and what was taken away is gone for
/// all.
#[test]
fn folding() {
    explore("folding", 40);
}

/// khugepaged collapses beside faults, forks, changes, promotions and ends of spaces: nothing is lost.
#[test]
fn khugepaged() {
    explore("khugepaged", 40);
}
