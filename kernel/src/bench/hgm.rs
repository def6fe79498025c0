//! The suites `hgm` and `collapse`: what entries that are smaller than a hugetlb page are good for, and what they cost.
//!
//! | part | suite | what |
//! |---|---|---|
//! | `postcopy` | `hgm` | how long a process waits for a page of its memory that arrives, and for how many bytes: `tests/programs/postcopy.c` |
//! | `collapse` | `collapse` | a page of 1 GiB by 4 KiB becomes one block, in one step and in two |
//! | `consumers` | `collapse` | what smaps and migration make of it, and what truncation leaves of its counts |
//! | `overflow` | `collapse` | how often it can be mapped so |
//!
//! Those of `collapse` depend on the way of counting, which is chosen at boot. The experiment on the console has all.
//!
//! The pools get what a part needs, and have their size back afterwards. Where memory has no page of 1 GiB in one
//! piece, the rows of that size are left out, in a sentence that says so.
#![forbid(unsafe_code)]

use core::fmt;

use mm::Mm;
use mm::hugetlb::HugeSize;
use mm::hugetlb::hgm::experiment::{self as giant, Unmeasured};
use mm::mapcount::experiment::Row;

use super::{End, program};
use crate::println;

/// A part: its name, its suite, and what runs it; `None`: it did not come to a good end.
struct Part {
    name: &'static str,
    suite: &'static str,
    run: fn(&'static Mm) -> Option<()>,
}

/// What measures a page of 1 GiB, and says each row.
type Measure = fn(&Mm, &mut dyn FnMut(&Row)) -> Result<(), Unmeasured>;

const PARTS: &[Part] = &[
    Part { name: "postcopy", suite: "hgm", run: postcopy },
    Part { name: "collapse", suite: "collapse", run: |mm| of_giant(mm, giant::collapse) },
    Part { name: "consumers", suite: "collapse", run: |mm| of_giant(mm, giant::consumers) },
    Part { name: "overflow", suite: "collapse", run: |mm| of_giant(mm, giant::overflow) },
];

/// The names of all parts, each after a space.
pub struct Parts;

impl fmt::Display for Parts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        PARTS.iter().try_for_each(|part| write!(f, " {}", part.name))
    }
}

/// The first word that names no part of the suite, where there is one.
pub fn no_part<'w>(words: &[&'w str]) -> Option<&'w str> {
    words.iter().copied().find(|word| PARTS.iter().all(|part| part.name != *word))
}

/// Prints the rows of the parts of the suite `hgm` that `words` name, all where there are none.
pub(super) fn arrive(mm: &'static Mm, words: &[&str]) -> End {
    suite(mm, "hgm", words)
}

/// The same of `collapse`.
pub(super) fn collapse(mm: &'static Mm, words: &[&str]) -> End {
    suite(mm, "collapse", words)
}

fn suite(mm: &'static Mm, suite: &str, words: &[&str]) -> End {
    if let Some(word) = no_part(words) {
        println!("error: {word} is no part of the suite");
        return End::Broken;
    }
    let of_suite = PARTS.iter().filter(|part| part.suite == suite);
    if run(mm, of_suite, words).is_some() { End::Complete } else { End::Broken }
}

/// As the suites, of all parts; the words are known. `None` where a program or a call did not come to a good end.
pub fn experiment(mm: &'static Mm, words: &[&str]) -> Option<()> {
    run(mm, PARTS.iter(), words)
}

fn run(mm: &'static Mm, parts: impl Iterator<Item = &'static Part>, words: &[&str]) -> Option<()> {
    let chosen = |part: &&Part| words.is_empty() || words.contains(&part.name);
    parts.filter(chosen).try_for_each(|part| (part.run)(mm))
}

/// A part that needs a page of 1 GiB beside those that the pool has.
fn of_giant(mm: &Mm, part: Measure) -> Option<()> {
    match part(mm, &mut |row| println!("{row}")) {
        Ok(()) => Some(()),
        Err(Unmeasured::Pool) => {
            println!("hgm: a page of 1 GiB is left out: memory has none (MEM=4G has one)");
            Some(())
        }
        Err(Unmeasured::Call(errno)) => {
            println!("error: a call failed with {errno:?}");
            None
        }
    }
}

/// Runs `measure` with so many pages of the size in the pool, all free; passes it over where there are not so many.
fn with_pool(
    mm: &'static Mm,
    size: HugeSize,
    pages: u64,
    measure: impl FnOnce() -> Option<()>,
) -> Option<()> {
    let before = mm.hugetlb.counts(size);
    let wanted = pages.max(before.nr);
    let got = mm.hugetlb.set_nr(mm, size, wanted).persistent;
    let free = mm.hugetlb.counts(size).free;
    let measured = if got == wanted && free >= pages {
        measure()
    } else {
        println!("hgm: {pages} pages of {size} are left out: memory has {free} of them");
        Some(())
    };
    let back = mm.hugetlb.set_nr(mm, size, before.nr).persistent;
    if back != before.nr {
        println!("error: the pool of {size} has {back} pages, and had {}", before.nr);
        return None;
    }
    measured
}

/// One page of 1 GiB, and 32 pages of 2 MiB.
fn postcopy(mm: &'static Mm) -> Option<()> {
    with_pool(mm, HugeSize::M2, 32, || {
        program::run(&["postcopy", "shift=21", "pages=32", "touches=256", "rounds=4"])
    })?;
    with_pool(mm, HugeSize::G1, 1, || program::run(&["postcopy", "shift=30", "pages=1", "touches=512"]))
}
