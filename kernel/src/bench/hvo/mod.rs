//! The suites `hvo` and `hvopools`: what it costs to give the struct pages of hugetlb pages back and to have them again,
//! in the strategy and the encoding of tails that were booted.
//!
//! | part | suite | what |
//! |---|---|---|
//! | `lists` | `hvo` | lists of 1 to 4096 folios of 2 MiB, optimised and restored: time, stores, TLBIs, DSBs, pauses, the first time and later |
//! | `sizes` | `hvo` | one folio of each size: bytes that are freed, and the same |
//! | `walkers` | `hvo` | the same while every other CPU tries to get references to all pages: how these get on, and what stops them |
//! | `upstream` | `hvopools` | pools of 1 GiB: allocate, free, demote to 2 MiB, free those; with HVO and without |
//!
//! Rows are named `<line>.<table>.<column>`; the line is strategy, encoding, FEAT_BBM level, what maps vmemmap, CPUs.
//! Figures are those of the whole list, on all CPUs: where the others have nothing to do they sleep, and what they
//! do for this list is counted. Each part takes what memory has, and gives it back.
#![forbid(unsafe_code)]

mod lists;
mod reading;
mod sheet;
mod upstream;
mod walkers;

use core::fmt::{self, Write as _};

use arch::{Machine, Mmu};
use arrayvec::ArrayString;
use mm::Mm;
use mm::config::HvoStrategy;

use super::End;
use crate::println;
use sheet::Sheet;

/// A part: its name, its suite, and what writes it on the sheet; `None`: it did not come to a good end, which a line
/// says.
struct Part {
    name: &'static str,
    suite: &'static str,
    run: fn(&'static Mm, &mut Sheet) -> Option<()>,
}

const PARTS: &[Part] = &[
    Part { name: "lists", suite: "hvo", run: lists::lists },
    Part { name: "sizes", suite: "hvo", run: lists::sizes },
    Part { name: "walkers", suite: "hvo", run: walkers::run },
    Part { name: "upstream", suite: "hvopools", run: upstream::run },
];

/// The names of all parts, each after a space.
pub struct Parts;

impl fmt::Display for Parts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        PARTS.iter().try_for_each(|part| write!(f, " {}", part.name))
    }
}

/// The first word that names no part, where there is one.
pub fn no_part<'w>(words: &[&'w str]) -> Option<&'w str> {
    words.iter().copied().find(|word| PARTS.iter().all(|part| part.name != *word))
}

/// Prints the rows of the parts of the suite `hvo` that `words` name, all where there are none.
pub(super) fn remaps(mm: &'static Mm, words: &[&str]) -> End {
    suite(mm, "hvo", words)
}

/// The same of `hvopools`.
pub(super) fn pools(mm: &'static Mm, words: &[&str]) -> End {
    suite(mm, "hvopools", words)
}

fn suite(mm: &'static Mm, suite: &str, words: &[&str]) -> End {
    if let Some(word) = no_part(words) {
        println!("error: {word} is no part of the suite");
        return End::Broken;
    }
    let of_suite = PARTS.iter().filter(|part| part.suite == suite);
    let measured = measure(mm, of_suite, words, |sheet, line| sheet.print_rows(line));
    if measured.is_some() { End::Complete } else { End::Broken }
}

/// As the suites, of all parts, as tables, and as JSON, an object a line; the words are known. `None` where a part did
/// not come to a good end.
pub fn experiment(mm: &'static Mm, words: &[&str]) -> Option<()> {
    measure(mm, PARTS.iter(), words, |sheet, line| {
        sheet.print_tables(line);
        sheet.print_json(line);
    })
}

/// Whether HVO was booted at all: there is nothing to measure with `hvo=off`.
pub fn is_off(mm: &Mm) -> bool {
    mm.hvo.strategy() == HvoStrategy::Off
}

fn measure(
    mm: &'static Mm,
    parts: impl Iterator<Item = &'static Part>,
    words: &[&str],
    say: impl Fn(&Sheet, &str),
) -> Option<()> {
    if is_off(mm) {
        println!("error: the kernel was booted with hvo=off");
        return None;
    }
    let line = line(mm);
    let chosen = |part: &&Part| words.is_empty() || words.contains(&part.name);
    parts.filter(chosen).try_for_each(|part| {
        let mut sheet = Sheet::new();
        let measured = (part.run)(mm, &mut sheet);
        say(&sheet, &line);
        measured
    })
}

/// What this boot is called.
fn line(mm: &Mm) -> ArrayString<64> {
    let config = &mm.config;
    let (strategy, bbm, cpus) = (mm.hvo.strategy(), Machine::features().bbm as u8, mm.env.online_cpus());
    let mut line = ArrayString::new();
    let words = format_args!("{strategy}-{}-bbm{bbm}-{}-{cpus}", config.tails, config.vmemmap);
    // The words of the choices leave room.
    let _ = line.write_fmt(words);
    line
}
