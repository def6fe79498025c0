//! What is to be run, as the environment says it.
#![forbid(unsafe_code)]

use std::fmt;
use std::time::{Duration, SystemTime};

use mm::testkit::scenario::{self, Scenario};

pub(crate) const USAGE: &str = "usage: soak

What is run is told by the environment:
  SOAK_SECONDS=N   for so many seconds, with seeds taken from the clock (600)
  SOAK_SEEDS=N     instead of that: with the seeds 0 to N-1, up to the first finding
  MMU_SEED=N       instead of that: with this one seed
  ONLY=NAME        only this scenario

Exit status: 0 nothing was found, 1 something was, 2 something above is wrong.";

/// Tells a worker the first seed of its soak.
pub(crate) const FIRST_SEED: &str = "SOAK_FIRST_SEED";

/// When a soak ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum End {
    /// After so long.
    Time(Duration),
    /// After so many seeds, or at the first finding.
    Seeds(u64),
}

/// Each of some scenarios with each of many seeds.
pub(crate) struct Plan {
    scenarios: Vec<&'static Scenario>,
    /// The seed of the first round.
    pub(crate) first_seed: u64,
    end: End,
}

/// A scenario with a seed.
#[derive(Clone, Copy)]
pub(crate) struct Run {
    pub(crate) scenario: &'static Scenario,
    pub(crate) seed: u64,
}

impl Plan {
    /// What the environment asks for.
    ///
    /// # Errors
    /// Words for a person: what of it is wrong.
    pub(crate) fn from_environment() -> Result<Plan, String> {
        let scenarios = match variable("ONLY") {
            None => scenario::ALL.iter().collect(),
            Some(name) => vec![scenario::find(&name).ok_or_else(|| no_scenario(&name))?],
        };
        let time = Duration::from_secs(number("SOAK_SECONDS")?.unwrap_or(600));
        let (first_seed, end) = match (number("MMU_SEED")?, number("SOAK_SEEDS")?) {
            (Some(seed), _) => (seed, End::Seeds(1)),
            (None, Some(seeds)) => (0, End::Seeds(seeds)),
            (None, None) => (seed_of_clock(), End::Time(time)),
        };
        let first_seed = number(FIRST_SEED)?.unwrap_or(first_seed);
        Ok(Plan { scenarios, first_seed, end })
    }

    /// Run `n`: the scenarios take turns.
    pub(crate) fn run(&self, n: u64) -> Run {
        let (round, scenario) = self.place(n);
        Run { scenario: self.scenarios[scenario], seed: self.first_seed.wrapping_add(round) }
    }

    fn place(&self, n: u64) -> (u64, usize) {
        let scenarios = self.scenarios.len() as u64;
        (n / scenarios, (n % scenarios) as usize)
    }

    /// Whether run `n` is to be made after so long and so many findings.
    pub(crate) fn goes_on(&self, n: u64, after: Duration, findings: u64) -> bool {
        match self.end {
            End::Time(time) => after < time,
            End::Seeds(seeds) => self.place(n).0 < seeds && findings == 0,
        }
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.scenarios.iter().map(|scenario| scenario.name).collect();
        write!(f, "{}, ", names.join(" "))?;
        match self.end {
            End::Time(time) => write!(f, "seeds from {}, for {} s", self.first_seed, time.as_secs()),
            End::Seeds(1) => write!(f, "seed {}", self.first_seed),
            End::Seeds(seeds) => write!(f, "{seeds} seeds from {}", self.first_seed),
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

/// A number in the environment, decimal or 0x.
pub(crate) fn number(name: &str) -> Result<Option<u64>, String> {
    let Some(word) = variable(name) else { return Ok(None) };
    let value = match word.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16).ok(),
        None => word.parse().ok(),
    };
    let shown = name.strip_prefix("SOAK_").unwrap_or(name);
    value.map(Some).ok_or_else(|| format!("{shown}={word}: a number is expected, as in {shown}=600"))
}

/// Seeds that no soak had before: microseconds since 2020, so that two soaks do not overlap.
fn seed_of_clock() -> u64 {
    let of_2020 = SystemTime::UNIX_EPOCH + Duration::from_secs(1_577_836_800);
    SystemTime::now().duration_since(of_2020).map_or(0, |time| time.as_micros() as u64)
}
