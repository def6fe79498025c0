//! What is typed, piped in or given as a boot argument is what runs.

use crate::{Harness, Verdict, failed};
use libtest_mimic::Trial;
use qemu::Options;
use std::io::Write;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;
use tests::{fleet, ktap};

pub(crate) fn trials(harness: &Arc<Harness>) -> Vec<Trial> {
    vec![
        harness.trial("console::piped_selftest", piped_selftest),
        harness.trial("console::end_of_input_powers_off", end_of_input_powers_off),
        harness.trial("console::selftest_filter_in_boot_arguments", filter_in_boot_arguments),
        harness.trial("console::typed_filter", typed_filter),
        harness.trial("console::times_are_not_called_instructions", times),
        harness.trial("console::experiments_say_what_they_cannot", experiments),
    ]
}

/// The runner that `make runner` built, with the kernel that `make run` boots and the machine of the file.
pub(crate) fn runner(harness: &Harness, limit: Duration) -> Command {
    let mut command = Command::new(qemu::root().join("target/debug/quire-run"));
    command.arg(&harness.release.elf).env("TIMEOUT", limit.as_secs().to_string());
    for variable in ["CPU", "SMP", "MEM", "EL2", "APPEND"] {
        command.env_remove(variable);
    }
    command
}

/// `printf 'selftest\npoweroff\n' | make run`: the whole way through the runner, as a user goes it.
fn piped_selftest(harness: &Harness) -> Verdict {
    let (status, log) = pipe(harness, b"selftest\npoweroff\n")?;
    let reports = ktap::parse(&log);
    let [report] = reports.as_slice() else {
        return Err(failed(format!("{} reports instead of one", reports.len()), &log));
    };
    match (report.faults().as_slice(), report.failures(), status) {
        ([], 0, Some(0)) => Ok(()),
        (faults, failures, status) => {
            Err(failed(format!("faults {faults:?}, {failures} failures, status {status:?}"), &log))
        }
    }
}

/// `make run </dev/null` ends by itself, with status 0.
fn end_of_input_powers_off(harness: &Harness) -> Verdict {
    match pipe(harness, b"")? {
        (Some(0), _) => Ok(()),
        (status, log) => Err(failed(format!("status {status:?}"), &log)),
    }
}

fn pipe(harness: &Harness, input: &[u8]) -> std::io::Result<(Option<i32>, String)> {
    let mut child = runner(harness, crate::LIMIT).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(input)?;
    }
    let output = child.wait_with_output()?;
    Ok((output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned()))
}

/// `selftest=hvo` runs the tests with `hvo` in their name, and no other; `tour=off` changes nothing about that.
fn filter_in_boot_arguments(harness: &Harness) -> Verdict {
    let options = Options { append: "selftest=hvo tour=off".to_owned(), ..harness.options.clone() };
    let outcome = fleet::run(&options, &harness.release)?;
    only_hvo(&outcome.log, outcome.success())
}

/// `selftest hvo` on the console does the same.
fn typed_filter(harness: &Harness) -> Verdict {
    let lines = ["selftest hvo", "poweroff"];
    let outcome = fleet::type_lines(&harness.options, &harness.release, &lines, Box::new(std::io::sink()))?;
    only_hvo(&outcome.log, outcome.success())
}

fn only_hvo(log: &str, success: bool) -> Verdict {
    let reports = ktap::parse(log);
    let Some(report) = reports.last() else { return Err(failed("no report", log)) };
    let others = report.cases.iter().filter(|case| !case.name.contains("hvo")).count();
    if others > 0 || !report.faults().is_empty() || report.failures() > 0 || !success {
        return Err(failed(format!("{others} tests without `hvo`, faults {:?}", report.faults()), log));
    }
    Ok(())
}

/// Where nobody counts instructions no column says so: times are `ns`, which `make bench` makes an instruction.
fn times(harness: &Harness) -> Verdict {
    let options = Options { append: "tour=off".to_owned(), ..harness.options.clone() };
    let lines = ["experiment hvo part=sizes", "poweroff"];
    let outcome = fleet::type_lines(&options, &harness.release, &lines, Box::new(std::io::sink()))?;
    let told = |line: &&str| line.ends_with("of one run; instructions are counted by");
    let others: Vec<_> = outcome.log.lines().filter(|line| !told(line)).collect();
    if others.len() == outcome.log.lines().count() {
        return Err(failed("it is not said whose times they are", &outcome.log));
    }
    let is_head = |line: &str| line.split_whitespace().nth(1) == Some("ns") && line.contains(" stores ");
    if !others.iter().any(|line| is_head(line)) || others.iter().any(|line| line.contains("instructions")) {
        return Err(failed("the column of times must be headed `ns`", &outcome.log));
    }
    Ok(())
}

/// An experiment that nobody can be told of, or of which no figure comes, is an error; and the choices with which it is
/// counted are said.
fn experiments(harness: &Harness) -> Verdict {
    let options =
        Options { append: "tour=off".to_owned(), mem: "512M".to_owned(), ..harness.options.clone() };
    let rows = [
        ("experiment list extra", "usage: experiment"),
        ("experiment about hvo extra", "usage: experiment"),
        ("experiment about mmbench", "which boots with thp=always hugepages=64"),
        ("experiment collapse part=collapse", "error: no figure has come of it"),
    ];
    for (line, sentence) in rows {
        let sink = Box::new(std::io::sink());
        let outcome = fleet::type_lines(&options, &harness.release, &[line, "poweroff"], sink)?;
        if !outcome.log.contains(sentence) {
            return Err(failed(format!("`{line}` was not answered by `{sentence}`"), &outcome.log));
        }
    }
    Ok(())
}
