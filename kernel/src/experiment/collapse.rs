//! `collapse`: a page of 1 GiB that is mapped by 4 KiB becomes one block, what is said of it meanwhile, and how often it
//! can be mapped so; in the way of counting that was booted.
//!
//! | part | what |
//! |---|---|
//! | `collapse` | a page of 1 GiB by 4 KiB becomes one block, in one step and in two |
//! | `consumers` | what smaps and migration make of it, and what truncation leaves of its counts |
//! | `overflow` | how often it can be mapped so |
#![forbid(unsafe_code)]

use mm::Mm;
use mm::hugetlb::hgm::experiment::{self as giant, Unmeasured};
use mm::mapcount::experiment::Row;

use super::Run;

/// What measures a page of 1 GiB, and says each row.
type Measure = fn(&Mm, &mut dyn FnMut(&Row)) -> Result<(), Unmeasured>;

const PARTS: [(&str, Measure); 3] =
    [("collapse", giant::collapse), ("consumers", giant::consumers), ("overflow", giant::overflow)];

/// Prints the rows of the parts that were asked for; each needs a page of 1 GiB beside those that the pool has.
pub(super) fn run(mm: &'static Mm, run: &mut Run<'_>) -> Option<()> {
    let asked = run.asked;
    let parts = || PARTS.into_iter().filter(|(name, _)| asked.wants("part", name));
    run.expect(parts().count());
    for (name, measure) in parts() {
        run.step(name);
        match measure(mm, &mut |row| run.line(row)) {
            Ok(()) => {}
            Err(Unmeasured::Pool) => {
                run.line("a page of 1 GiB is left out: memory has none (MEM=4G has one)")
            }
            Err(Unmeasured::Call(errno)) => return run.fail(format_args!("a call failed with {errno:?}")),
        }
    }
    Some(())
}
