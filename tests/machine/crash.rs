//! A kernel that dies says so: a non-zero exit status and a backtrace with names.

use crate::{Harness, Verdict, failed};
use libtest_mimic::Trial;
use qemu::{Options, Status};
use std::sync::Arc;
use tests::fleet;

/// Which kernel is to end.
#[derive(Clone, Copy)]
enum Kernel {
    /// As `make run` has it.
    Release,
    /// With debug assertions.
    Checked,
}

/// The boot argument `crash=`, the kernel, and words (in lower case) that the report must have.
const CRASHES: [(&str, Kernel, &[&str]); 6] = [
    ("panic", Kernel::Release, &["panic"]),
    ("stack", Kernel::Release, &["stack overflow"]),
    ("null", Kernel::Release, &["translation fault", "0x0000000000000000"]),
    ("bbm", Kernel::Checked, &["break-before-make is needed", "r_whzws, second bullet"]),
    ("unlocked", Kernel::Checked, &["without a lock of rank 50"]),
    ("tail", Kernel::Release, &["write to a shared tail: the struct page at 0x", "by thread main at pc 0x"]),
];

pub(crate) fn trials(harness: &Arc<Harness>) -> Vec<Trial> {
    let trial = |(kind, kernel, words): (&'static str, Kernel, &'static [&'static str])| {
        harness.trial(format!("crash::{kind}"), move |harness| check(harness, kind, kernel, words))
    };
    CRASHES.into_iter().map(trial).collect()
}

fn check(harness: &Harness, kind: &str, kernel: Kernel, words: &[&str]) -> Verdict {
    let boot = match kernel {
        Kernel::Release => &harness.release,
        Kernel::Checked => &harness.checked,
    };
    let options = Options { append: format!("crash={kind}"), ..harness.options.clone() };
    let outcome = fleet::run(&options, boot)?;
    let log = outcome.log.to_lowercase();
    match outcome.status {
        Status::Exited(0) => return Err(failed("the machine ended with status 0", &outcome.log)),
        Status::Exited(_) => {}
        status => return Err(failed(format!("the machine did not end by itself: {status:?}"), &outcome.log)),
    }
    if let Some(word) = words.iter().find(|word| !log.contains(**word)) {
        return Err(failed(format!("the report does not say `{word}`"), &outcome.log));
    }
    if !outcome.log.lines().any(is_named_frame) {
        return Err(failed("no frame of the backtrace has a name and a line of the kernel", &outcome.log));
    }
    Ok(())
}

/// `  #2 0xffff800080012345 kernel::boot::main at kernel/src/boot.rs:12`
fn is_named_frame(line: &str) -> bool {
    line.trim_start().starts_with('#') && line.contains(" 0x") && line.contains(" at kernel/src/")
}
