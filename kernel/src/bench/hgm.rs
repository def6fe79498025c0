//! The suite `hgm`: what entries that are smaller than a hugetlb page are good for, and what they cost.
//!
//! | part | what |
//! |---|---|
//! | `postcopy` | how long a process waits for a page of its memory that arrives, and for how many bytes: `tests/programs/postcopy.c` |
//!
//! The pools get what a part needs, and have their size back afterwards. Where memory has no page of 1 GiB in one piece,
//! the rows of that size are left out, in a sentence that says so.
#![forbid(unsafe_code)]

use core::fmt;

use mm::Mm;
use mm::hugetlb::HugeSize;

use super::{End, program};
use crate::println;

/// A part: its name, and what runs it; `None`: it did not come to a good end.
struct Part {
    name: &'static str,
    run: fn(&'static Mm) -> Option<()>,
}

const PARTS: &[Part] = &[Part { name: "postcopy", run: postcopy }];

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
    let chosen = |part: &&Part| words.is_empty() || words.contains(&part.name);
    PARTS.iter().filter(chosen).try_for_each(|part| (part.run)(mm))
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
