//! Every schedule of a small case, not only some.
//!
//! The search is stateless and goes depth first: a run replays a list of choices and takes choice 0 from there on;
//! the next run replays it up to the last choice that has an alternative, and takes that. Most bugs need few
//! choices that are out of the ordinary, so their number is bounded, and within the bound the search is complete.

use std::rc::Rc;

use super::bind::with_machine;
use super::choice::{Path, Pick, along};
use super::desc::MachineDesc;
use super::seed::{Seed, from_environment};

/// How far an exploration goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Bounds {
    /// Choices other than the first of their kind in one run: a switch away from a vCPU that could go on, or
    /// anything else that the machine leaves open.
    pub switches: usize,
    /// Runs after which the exploration ends incomplete; at least 1.
    pub runs: u64,
}

/// What an exploration did, where no run of it failed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Explored {
    /// Runs made.
    pub runs: u64,
    /// Steps of all of them.
    pub steps: u64,
    /// Whether there was no other run within the bound of switches.
    pub complete: bool,
}

/// Runs `f` as vCPU 0 of a new machine again and again, each time with other choices, within the bounds.
///
/// Where `MMU_SEED` is a path, only that one is run.
///
/// # Panics
/// As the first run that does; the report names its path.
pub fn explore(desc: MachineDesc, bounds: Bounds, f: impl Fn()) -> Explored {
    explore_runs(bounds, || with_machine(desc, &f))
}

/// [`explore`] for a `run` that makes its one machine itself.
///
/// # Panics
/// As the first run that does.
pub fn explore_runs(bounds: Bounds, run: impl Fn()) -> Explored {
    let mut explored = Explored { runs: 0, steps: 0, complete: false };
    if let Ok(Some(Seed::Path(_))) = from_environment() {
        run();
        return Explored { runs: 1, ..explored };
    }
    let mut given = Some(Vec::new());
    while let Some(list) = given.take().filter(|_| explored.runs < bounds.runs.max(1)) {
        let path = Rc::new(Path::new(list));
        along(&path, &run);
        explored.runs += 1;
        explored.steps += path.steps();
        given = alternative(&path.made(), bounds.switches);
        explored.complete = given.is_none();
    }
    explored
}

/// The list of choices that comes after `made`, with at most `most` that are not 0.
fn alternative(made: &[Pick], most: usize) -> Option<Vec<Pick>> {
    let mut unusual = made.iter().filter(|pick| pick.choice != 0).count();
    for (n, &Pick { choice, options }) in made.iter().enumerate().rev() {
        unusual -= usize::from(choice != 0);
        if choice + 1 < options && unusual < most {
            let last = Pick { choice: choice + 1, options };
            return Some(made[..n].iter().copied().chain([last]).collect());
        }
    }
    None
}
