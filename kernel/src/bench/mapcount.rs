//! The experiment `mapcount`: what each way of counting mappings costs here, and how often its answers are true.
//!
//! Rows are named `scheme.operation` and `scheme.question.verdict`. The collapse of 1 GiB needs as much memory in one
//! piece; where there is none its rows are left out, in a sentence that says why.
#![forbid(unsafe_code)]

use arch::Order;
use mm::Mm;
use mm::config::Mapcount;
use mm::error::OutOfMemory;
use mm::mapcount::experiment::{Clock, Row, answers, costs, giant_costs, overflow};
use mm::page::PageKind;

use super::End;
use crate::println;

/// Random states of which each scheme is asked.
const STATES: u64 = 4000;
const SEED: u64 = 20_260_412;

/// Runs the experiment; the words name schemes, all of them where there is none.
pub(super) fn run(mm: &'static Mm, words: &[&str]) -> End {
    if let Some(word) = no_scheme(words) {
        println!("error: {word} is no way of counting");
        return End::Broken;
    }
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

/// The first word that names no scheme, where there is one.
pub fn no_scheme<'w>(words: &[&'w str]) -> Option<&'w str> {
    words.iter().copied().find(|word| Mapcount::parse(word).is_none())
}

/// Prints all rows of the schemes that are named. Returns how many states had an answer that breaks its scheme's
/// contract.
///
/// # Errors
/// [`OutOfMemory`].
pub fn experiment(mm: &'static Mm, words: &[&str]) -> Result<u64, OutOfMemory> {
    let chosen = |scheme: &&Mapcount| words.is_empty() || words.contains(&scheme.word());
    Mapcount::ALL.iter().filter(chosen).try_fold(0, |broken, &scheme| Ok(broken + one(mm, scheme)?))
}

/// The rows of one scheme.
fn one(mm: &'static Mm, scheme: Mapcount) -> Result<u64, OutOfMemory> {
    let mut clock = Clock::new(mm);
    let mut say = |row: &Row| println!("{row}");
    costs(mm, scheme, &mut clock, &mut say)?;
    overflow(mm, scheme, &mut say)?;
    match mm.alloc_contig(Order::PUD, PageKind::Kernel) {
        Ok(block) => giant_costs(mm, scheme, block, &mut clock, &mut say)?,
        Err(why) => println!("{scheme}: a folio of 1 GiB is left out: {why} (MEM=4G has one)"),
    }
    answers(mm, scheme, STATES, SEED, &mut say)
}
