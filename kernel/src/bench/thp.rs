//! The suite `thp`: what one huge page costs by each road, and what each policy gives and costs by the way in which a
//! process uses its memory.
#![forbid(unsafe_code)]

use core::fmt;

use arrayvec::ArrayString;
use mm::Mm;

use super::policies::under_each;
use super::{End, program, promotion};
use crate::println;

/// The part that is not a way of using memory.
const PROMOTION: &str = "promotion";
/// What the program `workload` does.
const WAYS: [&str; 7] = ["sequential", "dense", "random", "sparse", "grow", "short", "snapshot"];

/// The names of all parts, each after a space.
pub struct Parts;

impl fmt::Display for Parts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        WAYS.iter().chain(&[PROMOTION]).try_for_each(|part| write!(f, " {part}"))
    }
}

/// The first word that names no part of the suite, where there is one.
pub fn no_part<'w>(words: &[&'w str]) -> Option<&'w str> {
    words.iter().copied().find(|word| *word != PROMOTION && !WAYS.contains(word))
}

/// Prints the rows of the parts that `words` name, all where there are none.
pub(super) fn run(mm: &'static Mm, words: &[&str]) -> End {
    if let Some(word) = no_part(words) {
        println!("error: {word} is no part of the suite");
        return End::Broken;
    }
    if experiment(mm, words).is_some() { End::Complete } else { End::Broken }
}

/// As the suite; the words are known. `None` where a program did not come to a good end.
pub fn experiment(mm: &'static Mm, words: &[&str]) -> Option<()> {
    let chosen = |part: &&str| words.is_empty() || words.contains(part);
    if chosen(&PROMOTION) {
        promotion::run(mm);
    }
    WAYS.into_iter().filter(chosen).try_for_each(|way| {
        under_each(mm, |policy| {
            let mut name = ArrayString::<32>::new();
            name.try_push_str("as=").and_then(|()| name.try_push_str(policy.name)).ok()?;
            program::run(&["workload", way, &name])
        })
    })
}
