//! Boot arguments that cannot be meant are answered in a sentence.

use crate::{Harness, Verdict, failed};
use libtest_mimic::Trial;
use qemu::{Options, Status};
use std::sync::Arc;
use tests::fleet;

/// A name, the boot arguments, what the machine says, and its exit status.
const ROWS: [(&str, &str, &str, i32); 6] = [
    (
        "choices_that_exclude_each_other",
        "mapcount=thp-like",
        "error: memory management cannot boot: mapcount=thp-like counts in tail struct pages",
        102,
    ),
    (
        "a_strategy_that_another_choice_excludes",
        "hvo=alias tails=pointer",
        "error: memory management cannot boot: hvo=alias: tails=pointer makes the tails of each folio say something else",
        102,
    ),
    ("a_choice_without_a_value", "mapcount tour=off", "error: mapcount=: must be one of rfc-v1", 0),
    ("a_value_that_is_none", "thp=sometimes tour=off", "error: thp=sometimes: must be one of never", 0),
    ("two_tasks", "crash=panic selftest=list", "what stands before `selftest=list` is left out", 0),
    ("a_word_that_nobody_knows", "frobnicate tour=off", "the boot argument `frobnicate` is not known", 0),
];

pub(crate) fn trials(harness: &Arc<Harness>) -> Vec<Trial> {
    let trial = |(name, append, sentence, status): (&str, &'static str, &'static str, i32)| {
        harness.trial(format!("arguments::{name}"), move |harness| check(harness, append, sentence, status))
    };
    ROWS.into_iter().map(trial).collect()
}

fn check(harness: &Harness, append: &str, sentence: &str, status: i32) -> Verdict {
    let options = Options { append: append.to_owned(), ..harness.options.clone() };
    let outcome = fleet::type_lines(&options, &harness.release, &["poweroff"], Box::new(std::io::sink()))?;
    if !outcome.log.contains(sentence) {
        return Err(failed(format!("the machine does not say `{sentence}`"), &outcome.log));
    }
    match outcome.status {
        Status::Exited(code) if code == status => Ok(()),
        other => Err(failed(format!("{other:?} instead of exit status {status}"), &outcome.log)),
    }
}
