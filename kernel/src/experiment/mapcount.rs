//! `mapcount`: what each way of counting mappings costs here, and how often its answers are true.
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

use super::Run;

/// Prints all rows of the schemes that were asked for.
pub(super) fn run(mm: &'static Mm, run: &mut Run<'_>) -> Option<()> {
    let asked = run.asked;
    let schemes = || Mapcount::ALL.iter().filter(|scheme| asked.wants("scheme", scheme.word()));
    run.expect(schemes().count());
    let mut broken = 0;
    for &scheme in schemes() {
        run.step(scheme);
        match one(mm, scheme, run) {
            Ok(states) => broken += states,
            Err(OutOfMemory) => return run.fail("there is too little memory"),
        }
    }
    if broken != 0 {
        return run.fail(format_args!("{broken} states had an answer that breaks its scheme's contract"));
    }
    Some(())
}

/// The rows of one scheme; returns how many states had an answer that breaks its contract.
fn one(mm: &'static Mm, scheme: Mapcount, run: &mut Run<'_>) -> Result<u64, OutOfMemory> {
    let mut clock = Clock::new(mm);
    let (states, seed) = (run.asked.number("states"), run.asked.number("seed"));
    costs(mm, scheme, &mut clock, &mut |row: &Row| run.line(row))?;
    overflow(mm, scheme, &mut |row: &Row| run.line(row))?;
    match mm.alloc_contig(Order::PUD, PageKind::Kernel) {
        Ok(block) => giant_costs(mm, scheme, block, &mut clock, &mut |row: &Row| run.line(row))?,
        Err(why) => {
            run.line(format_args!("{scheme}: a folio of 1 GiB is left out: {why} (MEM=4G has one)"));
        }
    }
    answers(mm, scheme, states, seed, &mut |row: &Row| run.line(row))
}
