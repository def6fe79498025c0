//! The run: first the unbroken tests, then each mutation.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::thread;

use super::list::{Mutation, Target};
use super::tree::{Ran, Tree};

/// Copies of the tree that are worked in at once.
const WORKERS: usize = 2;
/// Seconds for the expected test.
const TEST_SECONDS: u32 = 120;
/// Seconds for all tests of `arch` and `mm`.
const ALL_SECONDS: u32 = 600;
const ALL: [&str; 4] = ["-p", "arch", "-p", "mm"];

/// What became of a mutation.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// This test failed.
    CaughtBy(String),
    /// None did; why it may be.
    NotCaught(&'static str),
    /// The list is wrong.
    Error(String),
}

/// Runs `list` on copies of the tree at `root`, and tells `each` what became of each mutation as it is known.
/// Returns all verdicts in the order of the list.
///
/// # Errors
/// A sentence: the unbroken tree fails its tests, so that nothing can be told; or cannot be copied or built.
pub fn run(
    root: &Path,
    list: &[Mutation],
    each: impl Fn(&Mutation, &Verdict) + Sync,
) -> Result<Vec<Verdict>, String> {
    let trees: Vec<Tree> = (0..WORKERS.min(list.len()))
        .map(|n| Tree::new(root, n).map_err(|error| format!("the tree cannot be copied: {error}")))
        .collect::<Result<_, _>>()?;
    on_each(&trees, |tree| tree.build(&ALL)).into_iter().collect::<Result<Vec<()>, _>>()?;
    if let Some(tree) = trees.first() {
        pass_unbroken(tree, list)?;
    }
    let waiting: Mutex<VecDeque<usize>> = Mutex::new((0..list.len()).collect());
    let next = || waiting.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
    let work = |tree: &Tree| {
        let mut done = Vec::new();
        while let Some(n) = next() {
            let verdict = attempt(tree, &list[n]).unwrap_or_else(Verdict::Error);
            each(&list[n], &verdict);
            done.push((n, verdict));
        }
        done
    };
    let mut done: Vec<(usize, Verdict)> = on_each(&trees, work).into_iter().flatten().collect();
    done.sort_by_key(|(n, _)| *n);
    Ok(done.into_iter().map(|(_, verdict)| verdict).collect())
}

/// Runs `f` on all trees at once.
fn on_each<R: Send>(trees: &[Tree], f: impl Fn(&Tree) -> R + Sync) -> Vec<R> {
    thread::scope(|scope| {
        let workers: Vec<_> = trees.iter().map(|tree| scope.spawn(|| f(tree))).collect();
        workers
            .into_iter()
            .map(|worker| worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            .collect()
    })
}

/// Every test that the list names passes on the unbroken tree, and there is one for every name.
fn pass_unbroken(tree: &Tree, list: &[Mutation]) -> Result<(), String> {
    let mut programs: Vec<Vec<&Target>> = Vec::new();
    for target in list.iter().map(|mutation| &mutation.test) {
        match programs.iter_mut().find(|same| same[0].arguments() == target.arguments()) {
            Some(same) => same.push(target),
            None => programs.push(vec![target]),
        }
    }
    for targets in programs {
        let filters: Vec<&str> = targets.iter().map(|target| target.filter.as_str()).collect();
        let passed = match tree.test(ALL_SECONDS, &targets[0].arguments(), &filters)? {
            Ran::Passed(names) => names,
            other => {
                return Err(format!("the unbroken tree fails {}: {other:?}", targets[0].program.join(" ")));
            }
        };
        if let Some(filter) = filters.iter().find(|filter| !passed.iter().any(|name| name.contains(**filter)))
        {
            return Err(format!("{} has no test {filter}", targets[0].program.join(" ")));
        }
    }
    Ok(())
}

/// One mutation, in a copy of the tree.
fn attempt(tree: &Tree, mutation: &Mutation) -> Result<Verdict, String> {
    tree.with(mutation, || {
        let (arguments, filter) = (mutation.test.arguments(), mutation.test.filter.as_str());
        tree.build(&arguments)?;
        match tree.test(TEST_SECONDS, &arguments, &[filter])? {
            Ran::Failed(name) if name.is_empty() => Ok(caught(filter)),
            Ran::Failed(name) => Ok(caught(&name)),
            Ran::Hung => Ok(Verdict::NotCaught("the expected test hangs")),
            Ran::Passed(_) => attempt_all(tree),
        }
    })
}

/// The expected test has missed it: does any other see it?
fn attempt_all(tree: &Tree) -> Result<Verdict, String> {
    tree.build(&ALL)?;
    Ok(match tree.test(ALL_SECONDS, &ALL, &[])? {
        Ran::Failed(name) => caught(&name),
        Ran::Passed(_) => Verdict::NotCaught("every test passes"),
        Ran::Hung => Verdict::NotCaught("the expected test passes, and some test hangs"),
    })
}

fn caught(name: &str) -> Verdict {
    Verdict::CaughtBy(name.to_owned())
}
