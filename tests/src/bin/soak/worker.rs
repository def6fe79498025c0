//! One process that makes runs, and tells of each on its standard output.
#![forbid(unsafe_code)]

use std::cell::Cell;
use std::io::Write;
use std::panic::{PanicHookInfo, catch_unwind};

use crate::plan::{self, Plan};

/// Tells a process that it is a worker, and its first run.
pub(crate) const FIRST_RUN: &str = "SOAK_FIRST_RUN";

/// The first run of this process, if it is a worker.
pub(crate) fn first_run() -> Option<u64> {
    plan::number(FIRST_RUN).ok().flatten()
}

/// A line from a worker.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Report {
    /// The run has begun.
    Begun(u64),
    /// The run ended well after so many steps.
    Ran(u64, u64),
    /// The run ended by a panic that said this.
    Found(u64, String),
}

impl Report {
    pub(crate) fn parse(line: &str) -> Option<Report> {
        let (word, rest) = line.split_once(' ')?;
        let (run, rest) = rest.split_once(' ').unwrap_or((rest, ""));
        let run = run.parse().ok()?;
        match word {
            "begun" => Some(Report::Begun(run)),
            "ran" => Some(Report::Ran(run, rest.parse().ok()?)),
            "found" => Some(Report::Found(run, rest.to_owned())),
            _ => None,
        }
    }

    /// Tells it to the supervisor at once; a worker whose supervisor is gone ends.
    fn tell(&self) {
        let line = match self {
            Report::Begun(run) => format!("begun {run}\n"),
            Report::Ran(run, steps) => format!("ran {run} {steps}\n"),
            Report::Found(run, sentence) => format!("found {run} {sentence}\n"),
        };
        let mut out = std::io::stdout().lock();
        if out.write_all(line.as_bytes()).and_then(|()| out.flush()).is_err() {
            std::process::exit(0);
        }
    }
}

thread_local! {
    /// The run under way that has not panicked yet.
    static RUNNING: Cell<Option<u64>> = const { Cell::new(None) };
}

/// Makes every `stride`th run from `first` on, until the plan is done, the supervisor ends the process, or a run fails:
/// what a panic leaves behind in the process must not fail the next run.
pub(crate) fn work(plan: &Plan, first: u64, stride: u64) {
    std::panic::set_hook(Box::new(tell_panic));
    let began = std::time::Instant::now();
    for n in (first..).step_by(stride as usize).take_while(|&n| plan.goes_on(n, began.elapsed(), 0)) {
        let run = plan.run(n);
        Report::Begun(n).tell();
        RUNNING.set(Some(n));
        let Ok(ran) = catch_unwind(|| (run.scenario.run)(run.seed)) else { return };
        RUNNING.set(None);
        Report::Ran(n, ran.steps).tell();
    }
}

/// Tells the sentence of a run's first panic, at once: a second one may end the process.
fn tell_panic(panic: &PanicHookInfo<'_>) {
    let said = panic.payload_as_str().unwrap_or("a panic without words");
    let said = said.lines().map(str::trim).collect::<Vec<_>>().join(" | ");
    let place = panic.location().map_or_else(String::new, |at| format!(" ({}:{})", at.file(), at.line()));
    match RUNNING.take() {
        Some(run) => Report::Found(run, format!("{said}{place}")).tell(),
        None => eprintln!("while the run ended: {said}{place}"),
    }
}
