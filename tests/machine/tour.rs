//! The tour: what `make run` does first, on the machines that a reader is likely to choose.

use crate::{Harness, Verdict, failed};
use libtest_mimic::Trial;
use qemu::Options;
use qemu::config::Entry;
use std::sync::Arc;
use tests::fleet::{self, ending};

/// CPU, number of CPUs, entry, boot arguments. With `hugepages=0` the walk's own folio has the first block of vmemmap
/// split.
const MACHINES: [(&str, u32, Entry, &str); 13] = [
    ("max", 2, Entry::El1, ""),
    ("max", 4, Entry::El1, ""),
    ("max", 2, Entry::El2, ""),
    ("cortex-a72", 1, Entry::El1, ""),
    ("cortex-a72", 2, Entry::El2, "vmemmap=pte"),
    ("max", 2, Entry::El1, "vmemmap=pte tails=pointer"),
    ("max", 2, Entry::El1, "hvo=fault"),
    ("max", 4, Entry::El1, "hvo=fault vmemmap=pte tails=pointer"),
    ("max", 4, Entry::El1, "hvo=stop-machine"),
    ("max", 2, Entry::El1, "hvo=pause tails=pointer"),
    ("max", 2, Entry::El1, "hvo=bbml2 tails=pointer hugepages=0"),
    ("cortex-a72", 2, Entry::El1, "hvo=bbml2 vmemmap=pte"),
    ("max", 2, Entry::El1, "hvo_split=refuse"),
];

pub(crate) fn trials(harness: &Arc<Harness>) -> Vec<Trial> {
    let trial = |(cpu, smp, entry, append): (&str, u32, Entry, &str)| {
        let (cpu, append) = (cpu.to_owned(), append.to_owned());
        let name = format!("tour::{cpu}/smp{smp}/{entry:?}/{append}").to_lowercase().replace(' ', ",");
        harness.trial(name.trim_end_matches('/'), move |harness| {
            check(harness, Options { cpu, smp, entry, append, ..harness.options.clone() })
        })
    };
    MACHINES.into_iter().map(trial).collect()
}

/// The tour ends with its closing line, no stop failed, there was at least one, and the status is 0.
fn check(harness: &Harness, options: Options) -> Verdict {
    let outcome = fleet::run(&options, &harness.release)?;
    match closing_line(&outcome.log) {
        None => Err(failed("no closing line `tour: N stops, M failed`", &outcome.log)),
        Some((0, _)) => Err(failed("the tour has no stops", &outcome.log)),
        Some((_, failures @ 1..)) => {
            Err(failed(format!("{failures} stops of the tour failed"), &outcome.log))
        }
        Some((_, 0)) if !outcome.success() => Err(failed(ending(&outcome), &outcome.log)),
        Some((_, 0)) => Ok(()),
    }
}

/// The numbers of `tour: N stops, M failed`.
fn closing_line(log: &str) -> Option<(u32, u32)> {
    log.lines().find_map(|line| {
        let (stops, failures) =
            line.trim().strip_prefix("tour: ")?.strip_suffix(" failed")?.split_once(" stops, ")?;
        Some((stops.parse().ok()?, failures.parse().ok()?))
    })
}
