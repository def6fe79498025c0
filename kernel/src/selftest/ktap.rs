//! Runs self-tests and reports in KTAP, version 1.
#![forbid(unsafe_code)]

use mm::Mm;

use super::registry::{Failure, NotPassed, SELFTESTS, SelfTest, Verdict};
use crate::println;

/// How a run of self-tests ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// Every test that was chosen passed.
    Passed,
    /// At least one failed.
    Failed,
    /// The filter chose none.
    NoneChosen,
}

/// Numbers of a run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Summary {
    /// Tests that passed.
    pub passed: usize,
    /// Tests that failed.
    pub failed: usize,
    /// Tests that the machine has not enough for.
    pub skipped: usize,
}

impl Summary {
    /// The run in one word.
    pub fn outcome(self) -> Outcome {
        match self {
            Summary { passed: 0, failed: 0, skipped: 0 } => Outcome::NoneChosen,
            Summary { failed: 0, .. } => Outcome::Passed,
            _ => Outcome::Failed,
        }
    }
}

/// The tests whose name contains `filter`, in the order of their names.
fn chosen(filter: &str) -> impl Iterator<Item = &'static SelfTest> {
    let mut last = "";
    core::iter::from_fn(move || {
        let next = SELFTESTS
            .iter()
            .filter(|test| test.name > last && test.name.contains(filter))
            .min_by_key(|test| test.name)?;
        last = next.name;
        Some(next)
    })
}

/// Prints the names that `filter` chooses, one a line.
pub fn list(filter: &str) {
    chosen(filter).for_each(|test| println!("{}", test.name));
}

/// Runs the tests whose name contains `filter` (all, where it is empty), one after another. Prints nothing where it
/// chooses none.
pub fn run(mm: &'static Mm, filter: &str) -> Summary {
    let mut summary = Summary { passed: 0, failed: 0, skipped: 0 };
    let count = chosen(filter).count();
    if count == 0 {
        return summary;
    }
    let free = crate::settle::free_pages(mm);
    println!("KTAP version 1");
    println!("1..{count}");
    for (index, test) in chosen(filter).enumerate() {
        let number = index + 1;
        match run_one(mm, test) {
            Ok(()) => {
                summary.passed += 1;
                println!("ok {number} {}", test.name);
            }
            Err(NotPassed::Skipped(what)) => {
                summary.skipped += 1;
                println!("ok {number} {} # SKIP needs {what}", test.name);
            }
            Err(NotPassed::Failed(_)) => {
                summary.failed += 1;
                println!("not ok {number} {}", test.name);
            }
        }
    }
    let Summary { passed, failed, skipped } = summary;
    println!("# free pages: {free} before the tests, {} after them", crate::settle::free_pages(mm));
    println!("# selftest: {passed} passed, {failed} failed, {skipped} skipped");
    summary
}

/// One test, and the pages that it did not give back.
fn run_one(mm: &'static Mm, test: &SelfTest) -> Verdict {
    let before = crate::settle::free_pages(mm);
    (test.run)(mm)?;
    let after = crate::settle::free_pages(mm);
    if before == after {
        return Ok(());
    }
    let words = format_args!("{before} pages were free before the test, {after} after it");
    Err(Failure::new(file!(), line!(), words).into())
}
