//! `hvo` and `hvopools`: what it costs to give the struct pages of hugetlb pages back and to have them again, in the
//! strategy and the encoding of tails that were booted.
//!
//! | part | experiment | what |
//! |---|---|---|
//! | `lists` | `hvo` | lists of 1 to 4096 folios of 2 MiB, optimised and restored: time, stores, TLBIs, DSBs, pauses, the first time and later |
//! | `sizes` | `hvo` | one folio of each size: bytes that are freed, and the same |
//! | `walkers` | `hvo` | the same while every other CPU tries to get references to all pages: how these get on, and what stops them |
//! | `upstream` | `hvopools` | pools of 1 GiB: allocate, free, demote to 2 MiB, free those; with HVO and without |
//!
//! Rows are named `<boot>.<table>.<column>`; the boot is strategy, encoding, FEAT_BBM level, what maps vmemmap, CPUs.
//! Figures are those of the whole list, on all CPUs: where the others have nothing to do they sleep, and what they
//! do for this list is counted. Each part takes what memory has, and gives it back.
#![forbid(unsafe_code)]

mod lists;
mod reading;
mod sheet;
mod upstream;
mod walkers;

use core::fmt::Write as _;

use arch::{Machine, Mmu};
use arrayvec::ArrayString;
use mm::Mm;
use mm::config::HvoStrategy;

use super::Run;
use sheet::Sheet;

/// What writes a part on the sheet; `None`: it did not come to a good end, which a line says.
type Part = fn(&'static Mm, &mut Sheet<'_, '_>) -> Option<()>;

const PARTS: [(&str, Part); 3] =
    [("lists", lists::lists), ("sizes", lists::sizes), ("walkers", walkers::run)];

/// Prints the rows of the parts of `hvo` that were asked for.
pub(super) fn remaps(mm: &'static Mm, run: &mut Run<'_>) -> Option<()> {
    let asked = run.asked;
    let parts = || PARTS.into_iter().filter(|(name, _)| asked.wants("part", name));
    run.expect(parts().count());
    parts().try_for_each(|(name, part)| measure(mm, run, name, part))
}

/// Prints the rows of `hvopools`.
pub(super) fn pools(mm: &'static Mm, run: &mut Run<'_>) -> Option<()> {
    run.expect(1);
    measure(mm, run, "upstream", upstream::run)
}

fn measure(mm: &'static Mm, run: &mut Run<'_>, name: &str, part: Part) -> Option<()> {
    if mm.hvo.strategy() == HvoStrategy::Off {
        return run.fail("the kernel was booted with hvo=off");
    }
    run.step(name);
    part(mm, &mut Sheet::new(&boot(mm), run))
}

/// What this boot is called.
fn boot(mm: &Mm) -> ArrayString<64> {
    let config = &mm.config;
    let (strategy, bbm, cpus) = (mm.hvo.strategy(), Machine::features().bbm as u8, mm.env.online_cpus());
    let mut boot = ArrayString::new();
    let words = format_args!("{strategy}-{}-bbm{bbm}-{}-{cpus}", config.tails, config.vmemmap);
    // The words of the choices leave room.
    let _ = boot.write_fmt(words);
    boot
}
