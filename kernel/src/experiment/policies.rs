//! Policies for huge pages that are measured beside each other in one boot: each is a set of values for the files
//! below `/sys/kernel/mm/transparent_hugepage`.
//!
//! | policy | what |
//! |---|---|
//! | `never` | no huge pages |
//! | `always` | a huge page at the first fault |
//! | `underused` | the same, and under pressure those that are half zeros or more are split |
//! | `defer` | none at the fault; khugepaged collapses by copy what is half populated or more |
//! | `reserve` | reservations, promoted at 256 pages by kpromoted; under pressure all are dropped |
//! | `reserve-lru` | the same, but under pressure as many as needed, those first that were populated least recently |
//! | `reserve-sync` | the same, but promoted in the fault that reaches the threshold |
//! | `reserve-64` | the same at 64 pages |
//! | `full` | FreeBSD's rule: promoted in the fault that populates the last of 512 pages |
//!
//! With reservations khugepaged sleeps for ever, so that the figures of `reserve` and its kin are those of promotion in
//! place alone: no page of a workload is copied there by khugepaged.
#![forbid(unsafe_code)]

use arrayvec::ArrayString;
use mm::Mm;

use super::{Asked, Run};
use crate::{files, println};

const FOLDER: &str = "/sys/kernel/mm/transparent_hugepage/";

/// What a policy says something of.
const FILES: [&str; 7] = [
    "enabled",
    "promotion_threshold",
    "promote",
    "reserve_reclaim",
    "shrink_underused",
    "khugepaged/max_ptes_none",
    "khugepaged/scan_sleep_millisecs",
];

/// A policy.
pub(super) struct Policy {
    pub(super) name: &'static str,
    /// A value for each of [`FILES`].
    values: [&'static str; FILES.len()],
}

const fn policy(name: &'static str, values: [&'static str; FILES.len()]) -> Policy {
    Policy { name, values }
}

/// All of them.
const POLICIES: [Policy; 9] = [
    policy("never", ["never", "256", "async", "all", "0", "511", "10000"]),
    policy("always", ["always", "256", "async", "all", "0", "511", "10000"]),
    policy("underused", ["always", "256", "async", "all", "1", "255", "10000"]),
    policy("defer", ["defer", "256", "async", "all", "0", "256", "10"]),
    policy("reserve", ["reserve", "256", "async", "all", "0", "511", "4294967295"]),
    policy("reserve-lru", ["reserve", "256", "async", "lru", "0", "511", "4294967295"]),
    policy("reserve-sync", ["reserve", "256", "sync", "lru", "0", "511", "4294967295"]),
    policy("reserve-64", ["reserve", "64", "sync", "lru", "0", "511", "4294967295"]),
    policy("full", ["reserve", "512", "sync", "lru", "0", "511", "4294967295"]),
];

type Value = ArrayString<80>;

fn path(file: &str) -> ArrayString<96> {
    let mut path = ArrayString::new();
    // The longest of them fits.
    let _ = path.try_push_str(FOLDER).and_then(|()| path.try_push_str(file));
    path
}

/// What a file says, as one may write it: the word in brackets, or all of it.
fn read(mm: &Mm, file: &str) -> Value {
    let mut said = Value::new();
    let _ = files::print(mm, &path(file), &mut said);
    let word = said.split(['[', ']']).nth(1).unwrap_or(said.trim());
    Value::from(word).unwrap_or_default()
}

fn write(mm: &Mm, file: &str, value: &str) {
    if let Err(error) = files::write(mm, &path(file), value) {
        println!("error: {}: {error}", path(file));
    }
}

/// The policies that were asked for.
pub(super) fn chosen<'w>(asked: &'w Asked<'w>) -> impl Iterator<Item = &'static Policy> + use<'w> {
    POLICIES.iter().filter(|policy| asked.wants("policy", policy.name))
}

/// Runs `work` under each policy that was asked for, and puts the settings back afterwards. Stops where `work` answers
/// `None`.
pub(super) fn under_each(
    mm: &Mm,
    run: &mut Run<'_>,
    mut work: impl FnMut(&Policy, &mut Run<'_>) -> Option<()>,
) -> Option<()> {
    let before = FILES.map(|file| read(mm, file));
    let done = chosen(run.asked).try_for_each(|policy| {
        FILES.iter().zip(policy.values).for_each(|(file, value)| write(mm, file, value));
        work(policy, run)
    });
    FILES.iter().zip(before).for_each(|(file, value)| write(mm, file, &value));
    done
}
