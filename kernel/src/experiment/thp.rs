//! `thp`: what one huge page costs by each road, and what each policy gives and costs by the way in which a process uses
//! its memory.
#![forbid(unsafe_code)]

use core::fmt::Write as _;

use arrayvec::ArrayString;
use mm::Mm;

use super::policies::{chosen, under_each};
use super::{Run, promotion};

/// The part that is not a way of using memory.
const PROMOTION: &str = "promotion";
/// What the program `workload` does.
const WAYS: [&str; 7] = ["sequential", "dense", "random", "sparse", "grow", "short", "snapshot"];

/// Prints the rows of the ways and policies that were asked for.
pub(super) fn run(mm: &'static Mm, run: &mut Run<'_>) -> Option<()> {
    let asked = run.asked;
    let roads = asked.wants("way", PROMOTION);
    let ways = || WAYS.into_iter().filter(|way| asked.wants("way", way));
    run.expect(usize::from(roads) + ways().count() * chosen(asked).count());
    if roads {
        run.step("the roads to a huge page");
        promotion::run(mm, run)?;
    }
    for way in ways() {
        under_each(mm, run, |policy, run| {
            run.step(format_args!("{way}, {}", policy.name));
            let (mut name, mut mib) = (ArrayString::<32>::new(), ArrayString::<16>::new());
            write!(name, "as={}", policy.name)
                .and_then(|()| write!(mib, "mib={}", asked.number("mib")))
                .ok()?;
            run.program(&["workload", way, &name, &mib])
        })?;
    }
    Some(())
}
