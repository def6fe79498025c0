//! What things cost on this machine.
//!
//! A suite prints rows of three words, `name value unit`, one a line; `make bench` reads them, holds them against the
//! figures of Linux and writes them to `target/bench/<suite>.json`. Where the unit is `ns`, `name` is the mean of a
//! series and `name.min` its cheapest operation, which no timer interrupt has met; `name -errno errno` is an operation
//! that failed. Under `make bench` the virtual counter counts guest instructions: one ns is one instruction, and the
//! figures are the same at each run.
//!
//! | suite | what |
//! |---|---|
//! | `collapse` | hugetlb pages of 1 GiB that are mapped by 4 KiB: one step, two steps, how many mappings fit |
//! | `hgm` | entries that are smaller than a hugetlb page: post-copy migration with and without them |
//! | `hvo` | struct pages of hugetlb pages given back and had again, in the strategy that was booted |
//! | `hvopools` | what pools of 1 GiB cost with that and without |
//! | `kernel` | the kernel's own operations, measured within it |
//! | `mapcount` | ways of counting mappings: what each costs, and how often its answers are true |
//! | `mmbench` | the user program that Linux was measured with |
//! | `thp` | policies for huge pages, by the way in which memory is used |
//! | `thpfork` | how many processes fit that use a part of each 2 MiB, by policy |
//!
//! ```text
//! bench: begin mmbench
//! syscall_getpid.min 339 ns
//! ...
//! bench: end mmbench
//! ```
#![forbid(unsafe_code)]

pub mod hgm;
pub mod hvo;
mod kernel;
pub mod mapcount;
mod policies;
mod program;
mod promotion;
pub mod thp;
mod thpfork;
mod vmas;

use mm::Mm;

use crate::println;

/// How a suite ended.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    /// It printed all that it has.
    Complete,
    /// It did not come to its end; it has said why.
    Broken,
}

/// One suite.
struct Suite {
    name: &'static str,
    /// Measures and prints; the words are a choice within the suite, all of it where there is none.
    run: fn(&'static Mm, &[&str]) -> End,
}

const SUITES: &[Suite] = &[
    Suite { name: "collapse", run: hgm::collapse },
    Suite { name: "kernel", run: kernel::run },
    Suite { name: "hgm", run: hgm::arrive },
    Suite { name: "hvo", run: hvo::remaps },
    Suite { name: "hvopools", run: hvo::pools },
    Suite { name: "mapcount", run: mapcount::run },
    Suite { name: "mmbench", run: program::mmbench },
    Suite { name: "thp", run: thp::run },
    Suite { name: "thpfork", run: thpfork::run },
];

/// Most words that choose within a suite.
const MAX_WORDS: usize = 8;

/// Whether all that was asked for came to its end.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It did.
    Complete,
    /// A suite broke off, or there is none of that name.
    Broken,
}

/// Runs one suite, `name` or `name:word:word`, which chooses within it; every suite for the empty string.
pub fn run(mm: &'static Mm, asked: &str) -> Outcome {
    let mut words = asked.split(':');
    let name = words.next().unwrap_or("");
    let words: arrayvec::ArrayVec<&str, MAX_WORDS> = words.take(MAX_WORDS).collect();
    let (mut found, mut outcome) = (false, Outcome::Complete);
    for suite in SUITES.iter().filter(|suite| name.is_empty() || suite.name == name) {
        found = true;
        println!("bench: begin {}", suite.name);
        let end = (suite.run)(mm, &words);
        match end {
            End::Complete => println!("bench: end {}", suite.name),
            End::Broken => {
                println!("bench: broken {}", suite.name);
                outcome = Outcome::Broken;
            }
        }
    }
    if !found {
        println!("error: there is no suite `{name}`");
        outcome = Outcome::Broken;
    }
    outcome
}
