//! The tour: both walks through memory management, performed for real and read back from the machine.
//!
//! ```text
//!   walka, a process:    fault -> reservation -> threshold -> kpromoted -> one block     stops A.1 to A.8
//!   hugetlb, a process:  mmap -> fault -> pool;  then HVO there and back                 stops B.1 to B.9
//! ```
//! A stop has the number that `mm/README.md` gives it. It shows what tables, struct pages and counters say at
//! that moment, and holds that against what must be; a stop that does not hold says why. Nothing shown is
//! written here: every number is read.
//!
//! | file | what |
//! |---|---|
//! | `stop` | one stop: its title, its checks, the count of them all |
//! | `record` | the steps of a remap, as they are made |
//! | `counters` | which counters have moved |
//! | `walk_a` `walk_b` | the walks |
//! | `remap` | the second half of walk B: HVO there and back |
//! | `ways` | what each strategy of HVO must be seen to do, and who is kept away |
#![forbid(unsafe_code)]

mod counters;
mod record;
mod remap;
mod stop;
mod walk_a;
mod walk_b;
mod ways;

use mm::Mm;

use stop::Stop;
pub use stop::Summary;

use crate::{println, settle};

/// Performs both walks.
pub fn run(mm: &'static Mm) -> Summary {
    stop::begin_tour();
    println!("\nTour: two walks through memory management, performed now and read back from the machine.");
    let before = settle::free_pages(mm);
    walk_a::run(mm);
    walk_b::run(mm);
    let after = settle::free_pages(mm);
    let mut stop = Stop::begin("End", "nothing is left behind");
    println!(
        "    free pages: {before} before the tour, {after} now ({} kept for good)",
        settle::kept_pages(mm)
    );
    stop.check(before == after, format_args!("{before} free pages have become {after}"));
    drop(stop);
    let summary = stop::summary();
    println!("\ntour: {} stops, {} failed", summary.stops, summary.failed);
    summary
}
