//! The fork test of the RFC: the child at which memory is out, for each policy and number of pages that a child touches
//! in each 2 MiB.
//!
//! The program is the one that ran on Linux. It prints a sentence with `failing_child=`, and no row: the row is
//! announced.
#![forbid(unsafe_code)]

use mm::Mm;

use super::policies::under_each;
use super::{End, program};
use crate::println;

/// Pages in each 2 MiB; negative: a random number from 1 to that.
const PAGES: [&str; 4] = ["1", "-64", "-128", "-512"];
const CHUNK_MIB: &str = "256";

/// Prints a row for each policy and number of pages; `words` are those numbers, all where there are none.
pub(super) fn run(mm: &'static Mm, words: &[&str]) -> End {
    for pages in PAGES.into_iter().filter(|pages| words.is_empty() || words.contains(pages)) {
        let all = under_each(mm, |policy| {
            println!("bench: next {}.{pages} failing_child children", policy.name);
            program::run(&["thpfork", CHUNK_MIB, pages])
        });
        if all.is_none() {
            return End::Broken;
        }
    }
    End::Complete
}
