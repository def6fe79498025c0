//! The experiment `mapcount`: what each way of counting mappings costs here, and how often its answers are true.
//!
//! Rows are named `scheme.operation` and `scheme.question.verdict`. The collapse of 1 GiB needs as much free memory in one
//! piece; on a machine of less than 3 GiB its rows are left out.
#![forbid(unsafe_code)]

use mm::Mm;
use mm::config::Mapcount;
use mm::error::OutOfMemory;
use mm::mapcount::experiment::{Clock, Giant, Row, answers, costs, giant_costs};

use super::End;
use crate::println;

/// Random states of which each scheme is asked.
const STATES: u64 = 1000;
const SEED: u64 = 20_260_412;

/// Runs the experiment; the words name schemes, all of them where there is none.
pub(super) fn run(mm: &'static Mm, words: &[&str]) -> End {
    match experiment(mm, words) {
        Ok(0) => End::Complete,
        Ok(broken) => {
            println!("error: {broken} states had an answer that breaks its scheme's contract");
            End::Broken
        }
        Err(OutOfMemory) => {
            println!("error: there is too little memory");
            End::Broken
        }
    }
}

/// Prints all rows. Returns how many states had an answer that breaks its scheme's contract.
///
/// # Errors
/// [`OutOfMemory`].
pub fn experiment(mm: &'static Mm, words: &[&str]) -> Result<u64, OutOfMemory> {
    let giant = Giant::take(mm).ok();
    let chosen = |scheme: &&Mapcount| words.is_empty() || words.contains(&scheme.word());
    let mut schemes = Mapcount::ALL.iter().filter(chosen);
    let broken = schemes.try_fold(0, |broken, &scheme| Ok(broken + one(mm, scheme, giant.as_ref())?));
    if let Some(giant) = giant {
        giant.free(mm);
    }
    broken
}

/// The rows of one scheme.
fn one(mm: &'static Mm, scheme: Mapcount, giant: Option<&Giant>) -> Result<u64, OutOfMemory> {
    let mut clock = Clock::new(mm);
    let mut say = |row: &Row| println!("{row}");
    costs(mm, scheme, &mut clock, &mut say)?;
    if let Some(giant) = giant {
        giant_costs(mm, scheme, giant.head(), &mut clock, &mut say)?;
    }
    answers(mm, scheme, STATES, SEED, &mut say)
}
