//! `MMU_SEED`: how a run is named, and called back.
//!
//! A failing test prints one line `MMU_SEED=…`; with that in the environment the same test makes the same run
//! again. It is either a number, or for a run of an exploration the choices themselves:
//! `path:0*152,1,0*7,2` means 152 times the first choice, once the second, and so on; after the last one
//! always the first.

use std::fmt;
use std::str::FromStr;

/// The environment variable that names the run.
const VARIABLE: &str = "MMU_SEED";

/// What decides everything that a machine leaves open.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Seed {
    /// The start of a sequence of random numbers.
    Number(u64),
    /// The choices themselves.
    Path(Vec<usize>),
}

/// `MMU_SEED` is not what it should be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SeedError(String);

impl fmt::Display for SeedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{VARIABLE} is {:?}: a decimal number, 0x… or path:… is expected", self.0)
    }
}

impl std::error::Error for SeedError {}

/// Longest path that is taken: far above what a machine asks before its step limit.
const MAX_PATH: usize = 1 << 28;

impl FromStr for Seed {
    type Err = SeedError;

    fn from_str(word: &str) -> Result<Self, SeedError> {
        let seed = if let Some(list) = word.strip_prefix("path:") {
            path(list).map(Seed::Path)
        } else if let Some(digits) = word.strip_prefix("0x") {
            number(digits, 16).map(Seed::Number)
        } else {
            number(word, 10).map(Seed::Number)
        };
        seed.ok_or_else(|| SeedError(word.to_owned()))
    }
}

/// Digits and nothing else.
fn number(digits: &str, radix: u32) -> Option<u64> {
    let plain = digits.bytes().all(|digit| digit.is_ascii_alphanumeric());
    plain.then(|| u64::from_str_radix(digits, radix).ok()).flatten()
}

/// Choices, `CHOICE` or `CHOICE*TIMES`, with commas between; the empty list is the path of first choices.
fn path(list: &str) -> Option<Vec<usize>> {
    let mut choices = Vec::new();
    for item in list.split(',').filter(|_| !list.is_empty()) {
        let (choice, times) = item.split_once('*').unwrap_or((item, "1"));
        let choice = usize::try_from(number(choice, 10)?).ok()?;
        let times = usize::try_from(number(times, 10)?).ok()?;
        if times > MAX_PATH - choices.len() {
            return None;
        }
        choices.extend(std::iter::repeat_n(choice, times));
    }
    Some(choices)
}

impl fmt::Display for Seed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Seed::Number(number) => write!(f, "{VARIABLE}={number}"),
            Seed::Path(choices) => {
                write!(f, "{VARIABLE}=path:")?;
                for (n, run) in choices.chunk_by(|a, b| a == b).enumerate() {
                    let comma = if n == 0 { "" } else { "," };
                    match run.len() {
                        1 => write!(f, "{comma}{}", run[0])?,
                        times => write!(f, "{comma}{}*{times}", run[0])?,
                    }
                }
                Ok(())
            }
        }
    }
}

/// The seed in the environment, where there is one.
pub(super) fn from_environment() -> Result<Option<Seed>, SeedError> {
    match std::env::var_os(VARIABLE) {
        None => Ok(None),
        Some(word) => word.to_string_lossy().parse().map(Some),
    }
}

/// The seeds for a test that is to run `n` times: 0..n; or only the one that `MMU_SEED` names.
///
/// # Panics
/// `MMU_SEED` is no seed.
pub fn seeds(n: u64) -> impl Iterator<Item = u64> {
    match from_environment() {
        Ok(None) => 0..n,
        Ok(Some(Seed::Number(seed))) => seed..seed.saturating_add(1),
        // The machine takes its path from the environment, whatever the number.
        Ok(Some(Seed::Path(_))) => 0..1,
        Err(error) => panic!("model: {error}"),
    }
}
