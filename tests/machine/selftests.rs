//! Each self-test of the kernel on each machine of the matrix.
//!
//! The names come from the kernel (`selftest=list`, one short boot). Every machine has one more trial, `report`: it
//! fails if the report as a whole cannot be trusted, and shows the whole log.

use crate::{Harness, Verdict, failed};
use libtest_mimic::{Arguments, Completion, Failed, Trial};
use qemu::{Error, Options, Status};
use std::collections::BTreeSet;
use std::sync::Arc;
use tests::fleet::{self, Berth, ending};
use tests::{ktap, matrix};

/// The trials of the whole matrix; the machines that `arguments` leaves are booted from here on.
pub(crate) fn trials(harness: &Arc<Harness>, arguments: &Arguments) -> Result<Vec<Trial>, Error> {
    let names = Arc::new(list(harness)?);
    let (mut trials, mut wanted) = (Vec::new(), Vec::new());
    for line in matrix::lines() {
        let berth = Berth::new(line.name(), line.options(&harness.options, "selftest"));
        let mut own = vec![report(&berth, &names)];
        own.extend(names.iter().map(|name| selftest(&berth, name)));
        if own.iter().any(|trial| !arguments.is_filtered_out(trial) && !arguments.is_ignored(trial)) {
            wanted.push(berth);
        }
        trials.extend(own);
    }
    if !arguments.list {
        fleet::launch(wanted, &harness.checked, &harness.permits, crate::MACHINES);
    }
    Ok(trials)
}

/// The names of all self-tests: a line of its own each, `room::behaviour`.
fn list(harness: &Harness) -> Result<Vec<String>, Error> {
    let options = Options { append: "selftest=list".to_owned(), ..harness.options.clone() };
    let outcome = fleet::run(&options, &harness.checked)?;
    let is_name =
        |line: &&str| line.contains("::") && !line.contains(|c: char| c.is_whitespace() || c == '/');
    let names: Vec<_> = outcome.log.lines().map(str::trim).filter(is_name).map(str::to_owned).collect();
    if names.is_empty() || !outcome.success() {
        let reason = format!("`selftest=list` gave {} names: {}", names.len(), ending(&outcome));
        return Err(Error::Kernel(harness.checked.elf.clone(), reason));
    }
    Ok(names)
}

fn report(berth: &Arc<Berth>, names: &Arc<Vec<String>>) -> Trial {
    let (berth, names) = (Arc::clone(berth), Arc::clone(names));
    Trial::test(format!("{}::report", berth.name), move || check_report(&berth, &names))
}

/// The report is complete, names the tests that were listed, and agrees with the exit status.
fn check_report(berth: &Berth, names: &[String]) -> Verdict {
    let outcome = berth.outcome()?;
    let report = berth.report().map_err(|reason| failed(reason, &outcome.log))?;
    let mut faults = report.faults();
    let seen: BTreeSet<_> = report.cases.iter().map(|case| case.name.as_str()).collect();
    let listed: BTreeSet<_> = names.iter().map(String::as_str).collect();
    faults.extend(
        seen.symmetric_difference(&listed).map(|name| format!("`{name}` was listed or ran, but not both")),
    );
    let agrees = match outcome.status {
        Status::Exited(status) => (status == 0) == (report.failures() == 0),
        Status::TimedOut(_) | Status::GivenUp => false,
    };
    if !agrees {
        faults.push(format!("{} tests failed, yet {:?}", report.failures(), outcome.status));
    }
    match faults.as_slice() {
        [] => Ok(()),
        faults => Err(failed(faults.join("; "), &outcome.log)),
    }
}

fn selftest(berth: &Arc<Berth>, name: &str) -> Trial {
    let (berth, name) = (Arc::clone(berth), name.to_owned());
    Trial::ignorable_test(format!("{}::{name}", berth.name), move || check_case(&berth, &name))
}

/// The one test has a result, and it is no failure.
fn check_case(berth: &Berth, name: &str) -> Result<Completion, Failed> {
    let report = berth.report()?;
    let Some(case) = report.case(name) else {
        return Err(format!("no result; {}", ending(berth.outcome()?)).into());
    };
    match &case.verdict {
        ktap::Verdict::Passed => Ok(Completion::Completed),
        ktap::Verdict::Skipped(reason) => Ok(Completion::ignored_with(reason)),
        ktap::Verdict::Failed => {
            let words = format!("not ok, with `{}`", berth.options.append);
            Err(failed(words, &case.lines.join("\n")))
        }
    }
}
