//! The fork test of the RFC: the child at which memory is out, for each policy and number of pages that a child touches
//! in each 2 MiB.
//!
//! The program is the one that ran on Linux. It prints a sentence with `failing_child=`, and no row: the row is
//! announced. Rows of the same name with one word more say what became of the regions of all children meanwhile.
#![forbid(unsafe_code)]

use arch::addr::PAGE_SIZE;
use mm::Mm;
use mm::stats::Counter;

use super::Run;
use super::policies::{Policy, chosen, under_each};

/// Pages in each 2 MiB; negative: a random number from 1 to that.
const PAGES: [&str; 4] = ["1", "-64", "-128", "-512"];
const CHUNK_MIB: &str = "256";

/// What is counted beside: the word, the unit, the counters that it is the sum of, and what one of them stands for.
const BESIDE: [(&str, &str, &[Counter], u64); 6] = [
    ("huge_at_once", "regions", &[Counter::ThpFaultAlloc], 1),
    ("reserved", "regions", &[Counter::ThpResAlloc], 1),
    ("promoted", "regions", &[Counter::ResPagesCollapsed], 1),
    ("collapsed", "regions", &[Counter::ThpCollapseAlloc], 1),
    ("copied", "bytes", &[Counter::ThpCollapseCopied, Counter::ResPagesBroughtBack], PAGE_SIZE),
    ("given_back", "pages", &[Counter::ResPagesGivenBack], 1),
];

/// Prints the rows of the policies and numbers that were asked for.
pub(super) fn run(mm: &'static Mm, run: &mut Run<'_>) -> Option<()> {
    let asked = run.asked;
    let numbers = || PAGES.into_iter().filter(|pages| asked.wants("pages", pages));
    run.expect(numbers().count() * chosen(asked).count());
    for pages in numbers() {
        under_each(mm, run, |policy, run| under_one(mm, run, policy, pages))?;
    }
    Some(())
}

fn under_one(mm: &Mm, run: &mut Run<'_>, policy: &Policy, pages: &str) -> Option<()> {
    let counts = || BESIDE.map(|(.., counters, _)| counters.iter().map(|&c| mm.stats.get(c)).sum::<u64>());
    let before = counts();
    run.step(format_args!("{}, {pages} pages", policy.name));
    run.line(format_args!("bench: next {}.{pages} failing_child children", policy.name));
    run.program(&["thpfork", CHUNK_MIB, pages])?;
    for ((word, unit, _, each), (after, before)) in BESIDE.into_iter().zip(counts().into_iter().zip(before)) {
        run.line(format_args!("{}.{pages}.{word} {} {unit}", policy.name, (after - before) * each));
    }
    Some(())
}
