//! `soak`: runs the scenarios of `mm::testkit::scenario` with fresh seeds until the time is over.
//!
//! ```text
//!   soak -- plan from the environment -- figures, findings, exit status
//!     |                                        ^
//!     +--- process of worker 0: runs 0, 2, 4.. | a line for each run
//!     `--- process of worker 1: runs 1, 3, 5.. | and for each finding
//! ```
//! A run is a scenario with a seed. Workers are processes, since a panic while a panic unwinds ends a process: that
//! is a finding like any other, and the worker goes on with its next run.
#![forbid(unsafe_code, unstable_features)]

mod plan;
mod worker;

use std::io::{self, BufRead, BufReader};
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use plan::{Plan, Run};
use worker::Report;

/// Workers, each on a core of its own where there are as many.
const WORKERS: u64 = 2;
/// Between two lines about the progress.
const PROGRESS: Duration = Duration::from_secs(30);
/// Between two looks at the clock.
const LOOK: Duration = Duration::from_millis(50);

fn main() -> ExitCode {
    let plan = match Plan::from_environment() {
        Ok(plan) => plan,
        Err(wrong) => {
            eprintln!("soak: {wrong}\n\n{}", plan::USAGE);
            return ExitCode::from(2);
        }
    };
    let outcome = match worker::first_run() {
        Some(first) => {
            worker::work(&plan, first, WORKERS);
            return ExitCode::SUCCESS;
        }
        None => soak(plan),
    };
    match outcome {
        Ok(0) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("soak: a worker cannot be started: {error}");
            ExitCode::from(2)
        }
    }
}

/// Runs it all, and returns how much was found.
fn soak(plan: Plan) -> io::Result<u64> {
    println!("soak: {plan}");
    let soak = Soak { plan, began: Instant::now(), figures: Figures::default() };
    let began = soak.began;
    std::thread::scope(|threads| {
        let workers: Vec<_> = (0..WORKERS)
            .map(|n| {
                threads.spawn({
                    let soak = &soak;
                    move || soak.supervise(n)
                })
            })
            .collect();
        let mut told = Instant::now();
        while workers.iter().any(|worker| !worker.is_finished()) {
            std::thread::sleep(LOOK);
            if told.elapsed() >= PROGRESS {
                told = Instant::now();
                println!("soak: {} after {} s", soak.figures, began.elapsed().as_secs());
            }
        }
        workers.into_iter().try_for_each(|worker| worker.join().unwrap_or(Ok(())))
    })?;
    println!("soak: {}", soak.figures);
    Ok(soak.figures.findings.load(Ordering::Relaxed))
}

/// What was done so far.
#[derive(Default)]
struct Figures {
    schedules: AtomicU64,
    steps: AtomicU64,
    findings: AtomicU64,
}

impl std::fmt::Display for Figures {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let read = |figure: &AtomicU64| figure.load(Ordering::Relaxed);
        let (schedules, steps, findings) = (read(&self.schedules), read(&self.steps), read(&self.findings));
        write!(f, "{schedules} schedules, {steps} steps, {findings} findings")
    }
}

/// A soak under way.
struct Soak {
    plan: Plan,
    began: Instant,
    figures: Figures,
}

impl Soak {
    /// Keeps worker `n` at work until all is done.
    fn supervise(&self, n: u64) -> io::Result<()> {
        let mut next = n;
        while self.goes_on(next) {
            let mut process = self.start(next)?;
            let mut begun = next;
            let mut reported = true;
            for line in process.stdout.take().map(BufReader::new).into_iter().flat_map(BufRead::lines) {
                match Report::parse(&line?) {
                    Some(Report::Begun(run)) if !self.goes_on(run) => {
                        process.kill()?;
                        break;
                    }
                    Some(Report::Begun(run)) => (begun, reported) = (run, false),
                    Some(Report::Ran(run, steps)) => {
                        (next, reported) = (run + WORKERS, true);
                        self.figures.schedules.fetch_add(1, Ordering::Relaxed);
                        self.figures.steps.fetch_add(steps, Ordering::Relaxed);
                    }
                    Some(Report::Found(run, sentence)) => {
                        (next, reported) = (run + WORKERS, true);
                        self.found(self.plan.run(run), &sentence);
                    }
                    None => {}
                }
            }
            let status = process.wait()?;
            if !reported && self.goes_on(next) {
                self.found(self.plan.run(begun), &format!("the process ended: {status}"));
                next = begun + WORKERS;
            }
        }
        Ok(())
    }

    fn start(&self, first: u64) -> io::Result<Child> {
        Command::new(std::env::current_exe()?)
            .env(worker::FIRST_RUN, first.to_string())
            .env(plan::FIRST_SEED, self.plan.first_seed.to_string())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
    }

    /// Whether run `n` is to be made.
    fn goes_on(&self, n: u64) -> bool {
        self.plan.goes_on(n, self.began.elapsed(), self.figures.findings.load(Ordering::Relaxed))
    }

    fn found(&self, run: Run, sentence: &str) {
        self.figures.schedules.fetch_add(1, Ordering::Relaxed);
        self.figures.findings.fetch_add(1, Ordering::Relaxed);
        let (scenario, seed) = (run.scenario.name, run.seed);
        println!("soak: finding: scenario {scenario}, seed {seed}: {sentence}");
        println!("      again by: MMU_SEED={seed} make soak ONLY={scenario}");
    }
}
