//! HVO's self-tests by each strategy, wherever it is to be had; its soak; and folios of 1 GiB, which need more memory.

use crate::{Harness, Verdict, failed};
use libtest_mimic::Trial;
use mm::config::HvoStrategy;
use mm::hvo::choice::BEST_FIRST;
use qemu::Options;
use std::sync::Arc;
use tests::ktap::{self, Verdict as Said};
use tests::{fleet, strategies};

/// The test that is skipped where memory has no gigabyte in one piece.
const GIGABYTE: &str = "hvo::folios_of_1g";

/// The test of the one strategy that lets others meet a broken entry.
const WAITS: &str = "hvo::walkers_wait_for_broken_entries";

pub(crate) fn trials(harness: &Arc<Harness>) -> Vec<Trial> {
    let mut trials = Vec::new();
    for machine in strategies::machines() {
        let name = format!("strategies::{}", machine.name());
        trials.push(harness.trial(name, move |harness| {
            let options = machine.options(&harness.options, "selftest=hvo");
            let waits = machine.strategy == HvoStrategy::Fault && machine.smp > 1;
            all_pass(
                harness,
                &options,
                machine.strategy,
                if waits { &[GIGABYTE] } else { &[GIGABYTE, WAITS] },
            )
        }));
    }
    for strategy in BEST_FIRST {
        trials.push(harness.trial(format!("strategies::gigabyte/{strategy}"), move |harness| {
            let append = format!("selftest={GIGABYTE} hvo={strategy}");
            let options = Options { mem: "4G".to_owned(), smp: 4, append, ..harness.options.clone() };
            all_pass(harness, &options, strategy, &[])
        }));
        trials.push(harness.trial(format!("strategies::soak/{strategy}"), move |harness| {
            let append = format!("tour=off hvo={strategy}");
            let options = Options { smp: 4, append, ..harness.options.clone() };
            soaks(harness, &options)
        }));
    }
    trials
}

/// The kernel says which strategy it has, and every self-test that was chosen passes; only those of `skipped` may be left
/// out.
fn all_pass(harness: &Harness, options: &Options, strategy: HvoStrategy, skipped: &[&str]) -> Verdict {
    let outcome = fleet::run(options, &harness.checked)?;
    if !outcome.log.contains(&format!("\n  HVO       {strategy};")) {
        return Err(failed(format!("the kernel does not say that it has {strategy}"), &outcome.log));
    }
    let [report] = &ktap::parse(&outcome.log)[..] else {
        return Err(failed("not one report", &outcome.log));
    };
    let passed = |case: &ktap::Case| match case.verdict {
        Said::Passed => true,
        Said::Skipped(_) => skipped.contains(&case.name.as_str()),
        Said::Failed => false,
    };
    let faults = report.faults();
    if let Some(case) = report.cases.iter().find(|case| !passed(case)) {
        return Err(failed(format!("{}: {:?}", case.name, case.verdict), &outcome.log));
    }
    if !faults.is_empty() || report.cases.is_empty() || !outcome.success() {
        return Err(failed(format!("{faults:?}, {:?}", outcome.status), &outcome.log));
    }
    Ok(())
}

/// A few seconds of `hvo soak` end well, and the sentence at the end says so.
fn soaks(harness: &Harness, options: &Options) -> Verdict {
    let lines = ["hvo soak 4", "poweroff"];
    let outcome = fleet::type_lines(options, &harness.release, &lines, Box::new(std::io::sink()))?;
    let right = outcome.log.lines().any(|line| line.starts_with("soak-hvo: 0 wrong"));
    if right && outcome.success() {
        Ok(())
    } else {
        Err(failed(format!("{:?}", outcome.status), &outcome.log))
    }
}
