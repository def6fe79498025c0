//! `soak`: runs the scenarios of `mm::testkit::scenario` with fresh seeds until the time is over.
#![forbid(unsafe_code, unstable_features)]

use std::cell::{Cell, RefCell};
use std::panic::{PanicHookInfo, catch_unwind};
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use mm::testkit::scenario::{self, Scenario};

const USAGE: &str = "usage: soak

What is run is told by the environment:
  SOAK_SECONDS=N   for so many seconds, with seeds taken from the clock (600)
  SOAK_SEEDS=N     instead of that: with the seeds 0 to N-1, up to the first finding
  MMU_SEED=N       instead of that: with this one seed
  ONLY=NAME        only this scenario

Exit status: 0 nothing was found, 1 something was, 2 something above is wrong.";

/// Machines at a time: each is confined to one thread.
const THREADS: usize = 2;
/// Between two lines about the progress.
const PROGRESS: Duration = Duration::from_secs(30);
/// Between two looks at the clock.
const LOOK: Duration = Duration::from_millis(50);

fn main() -> ExitCode {
    let plan = match Plan::from_environment() {
        Ok(plan) => plan,
        Err(wrong) => {
            eprintln!("soak: {wrong}\n\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    std::panic::set_hook(Box::new(note_panic));
    println!("soak: {plan}");
    let soak = Soak { plan, began: Instant::now(), ..Soak::default() };
    std::thread::scope(|threads| {
        let workers: Vec<_> = (0..THREADS).map(|_| threads.spawn(|| soak.work())).collect();
        let mut told = Instant::now();
        while workers.iter().any(|worker| !worker.is_finished()) {
            std::thread::sleep(LOOK);
            if told.elapsed() >= PROGRESS {
                told = Instant::now();
                println!("soak: {} after {} s", soak.figures(), soak.began.elapsed().as_secs());
            }
        }
    });
    println!("soak: {}", soak.figures());
    ExitCode::from(u8::from(soak.findings.load(Ordering::Relaxed) != 0))
}

// ---- what is to be run ----------------------------------------------------------------------------------------

/// When a soak ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum End {
    /// After so long.
    Time(Duration),
    /// After so many seeds, or at the first finding.
    Seeds(u64),
}

/// What is to be run: each scenario with each seed.
struct Plan {
    scenarios: Vec<&'static Scenario>,
    first_seed: u64,
    end: End,
}

impl Plan {
    fn from_environment() -> Result<Plan, String> {
        let scenarios = match variable("ONLY") {
            None => scenario::ALL.iter().collect(),
            Some(name) => vec![scenario::find(&name).ok_or_else(|| no_scenario(&name))?],
        };
        let (first_seed, end) = match (number("MMU_SEED")?, number("SOAK_SEEDS")?, number("SOAK_SECONDS")?) {
            (Some(seed), _, _) => (seed, End::Seeds(1)),
            (None, Some(seeds), _) => (0, End::Seeds(seeds)),
            (None, None, seconds) => {
                (seed_of_clock(), End::Time(Duration::from_secs(seconds.unwrap_or(600))))
            }
        };
        Ok(Plan { scenarios, first_seed, end })
    }
}

impl std::fmt::Display for Plan {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names: Vec<_> = self.scenarios.iter().map(|scenario| scenario.name).collect();
        write!(f, "{}, seeds from {}, ", names.join(" "), self.first_seed)?;
        match self.end {
            End::Time(time) => write!(f, "for {} s", time.as_secs()),
            End::Seeds(seeds) => write!(f, "{seeds} of them"),
        }
    }
}

fn no_scenario(name: &str) -> String {
    let about = |scenario: &Scenario| format!("\n  {:<10} {}", scenario.name, scenario.about);
    let all: String = scenario::ALL.iter().map(about).collect();
    format!("ONLY={name} is no scenario; there are{all}")
}

/// A variable of the environment; empty is as good as not set.
fn variable(name: &str) -> Option<String> {
    let word = std::env::var_os(name)?.to_string_lossy().trim().to_owned();
    (!word.is_empty()).then_some(word)
}

fn number(name: &str) -> Result<Option<u64>, String> {
    let Some(word) = variable(name) else { return Ok(None) };
    let value = match word.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16).ok(),
        None => word.parse().ok(),
    };
    let shown = name.strip_prefix("SOAK_").unwrap_or(name);
    value.map(Some).ok_or_else(|| format!("{shown}={word} is not a number, as in {shown}=600"))
}

/// Seeds that no run had before: microseconds since 2020, so that two runs in one second do not overlap.
fn seed_of_clock() -> u64 {
    let of_2020 = SystemTime::UNIX_EPOCH + Duration::from_secs(1_577_836_800);
    SystemTime::now().duration_since(of_2020).map_or(0, |time| time.as_micros() as u64)
}

// ---- the work -------------------------------------------------------------------------------------------------

/// A soak under way.
struct Soak {
    plan: Plan,
    began: Instant,
    /// The next run's number.
    next: AtomicU64,
    schedules: AtomicU64,
    steps: AtomicU64,
    findings: AtomicU64,
}

impl Default for Soak {
    fn default() -> Self {
        let plan = Plan { scenarios: Vec::new(), first_seed: 0, end: End::Seeds(0) };
        let zero = || AtomicU64::new(0);
        Soak { plan, began: Instant::now(), next: zero(), schedules: zero(), steps: zero(), findings: zero() }
    }
}

impl Soak {
    fn figures(&self) -> String {
        let read = |figure: &AtomicU64| figure.load(Ordering::Relaxed);
        let (schedules, steps, findings) = (read(&self.schedules), read(&self.steps), read(&self.findings));
        format!("{schedules} schedules, {steps} steps, {findings} findings")
    }

    /// The next scenario and its seed; `None` where all is done.
    fn take(&self) -> Option<(&'static Scenario, u64)> {
        let Plan { ref scenarios, first_seed, end } = self.plan;
        let n = self.next.fetch_add(1, Ordering::Relaxed);
        let (round, scenario) = (n / scenarios.len() as u64, n % scenarios.len() as u64);
        let goes_on = match end {
            End::Time(time) => self.began.elapsed() < time,
            End::Seeds(seeds) => round < seeds && self.findings.load(Ordering::Relaxed) == 0,
        };
        goes_on.then(|| (scenarios[scenario as usize], first_seed.wrapping_add(round)))
    }

    fn work(&self) {
        while let Some((scenario, seed)) = self.take() {
            RUNNING.set(Some((scenario.name, seed)));
            let outcome = catch_unwind(|| (scenario.run)(seed));
            self.schedules.fetch_add(1, Ordering::Relaxed);
            match outcome {
                Ok(ran) => {
                    self.steps.fetch_add(ran.steps, Ordering::Relaxed);
                }
                Err(_) => {
                    self.findings.fetch_add(1, Ordering::Relaxed);
                    let sentence = SENTENCE.take().unwrap_or_else(|| "a panic without words".to_owned());
                    println!("{}", finding(scenario.name, seed, &sentence));
                }
            }
        }
    }
}

fn finding(scenario: &str, seed: u64, sentence: &str) -> String {
    format!(
        "soak: finding: scenario {scenario}, seed {seed}: {sentence}\n      again by: MMU_SEED={seed} make soak ONLY={scenario}"
    )
}

// ---- panics ---------------------------------------------------------------------------------------------------

thread_local! {
    /// What this thread runs.
    static RUNNING: Cell<Option<(&'static str, u64)>> = const { Cell::new(None) };
    /// What the first panic of the run said.
    static SENTENCE: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Keeps the sentence of a run's first panic. A second one may end the process, so it is told at once.
fn note_panic(panic: &PanicHookInfo<'_>) {
    let said = panic.payload_as_str().unwrap_or("a panic without words");
    let place = panic.location().map_or_else(String::new, |at| format!(" ({}:{})", at.file(), at.line()));
    let sentence = format!("{said}{place}");
    let first = SENTENCE.with_borrow_mut(|kept| {
        let first = kept.is_none();
        kept.get_or_insert_with(|| sentence.clone());
        first
    });
    if let (false, Some((scenario, seed))) = (first, RUNNING.get()) {
        println!("{}", finding(scenario, seed, &format!("while it ends by a panic, another: {sentence}")));
    }
}
