//! A machine with more memory than the others: what needs 1 GiB in one piece runs, and is not skipped.

use crate::{Harness, Verdict, failed};
use libtest_mimic::Trial;
use qemu::Options;
use std::sync::Arc;
use tests::fleet;
use tests::ktap::{self, Verdict as Said};

const MEM: &str = "4G";
const TEST: &str = "rmap::a_gigabyte_in_one_piece_is_mapped";
const POOL_TEST: &str = "hvo::the_free_folios_of_the_pool";

pub(crate) fn trials(harness: &Arc<Harness>) -> Vec<Trial> {
    vec![
        harness.trial("gigabyte::is_mapped", is_mapped),
        harness.trial("gigabyte::is_collapsed", is_collapsed),
        harness.trial("gigabyte::is_optimised_at_boot", is_optimised_at_boot),
    ]
}

/// The self-test that is skipped elsewhere.
fn is_mapped(harness: &Harness) -> Verdict {
    let append = format!("selftest={TEST}");
    let options = Options { mem: MEM.to_owned(), append, ..harness.options.clone() };
    let outcome = fleet::run(&options, &harness.release)?;
    let reports = ktap::parse(&outcome.log);
    match reports.iter().find_map(|report| report.case(TEST)).map(|case| &case.verdict) {
        Some(Said::Passed) if outcome.success() => Ok(()),
        other => Err(failed(format!("{TEST}: {other:?}"), &outcome.log)),
    }
}

/// Two folios, of the three that 3 GiB would hold if the kernel were not in one, have no struct pages of tails from the
/// start; they get them, and lose them again.
fn is_optimised_at_boot(harness: &Harness) -> Verdict {
    let append = format!("hugepagesz=1G hugepages=3 selftest={POOL_TEST}");
    let options = Options { mem: "3G".to_owned(), append, ..harness.options.clone() };
    let outcome = fleet::run(&options, &harness.release)?;
    let bytes = 2 * 4095 * 4096;
    let words = format!("folios optimised before they had struct pages: 2; {bytes} bytes never taken");
    let missing = "warning: hugepagesz=1G hugepages=3: memory for 2 only";
    let reports = ktap::parse(&outcome.log);
    let passed = reports.iter().find_map(|report| report.case(POOL_TEST)).map(|case| &case.verdict);
    if !matches!(passed, Some(Said::Passed)) || !outcome.success() {
        return Err(failed(format!("{POOL_TEST}: {passed:?}"), &outcome.log));
    }
    match [&words, missing].into_iter().find(|&words| !outcome.log.contains(words)) {
        None => Ok(()),
        Some(words) => Err(failed(format!("`{words}` is not said"), &outcome.log)),
    }
}

/// The experiment collapses a folio of 1 GiB here, and says why it does not where there is less memory.
fn is_collapsed(harness: &Harness) -> Verdict {
    for (mem, word) in
        [(MEM, "rfc-v2.collapse_1g_step_2_of_2 "), ("512M", "rfc-v2: a folio of 1 GiB is left out: ")]
    {
        let append = "tour=off bench=mapcount:scheme=rfc-v2".to_owned();
        let options = Options { mem: mem.to_owned(), append, ..harness.options.clone() };
        let outcome = fleet::run(&options, &harness.release)?;
        let said = outcome.log.lines().any(|line| line.starts_with(word));
        if !said || !outcome.success() {
            return Err(failed(format!("with {mem}, `{word}` is not said, or the end is bad"), &outcome.log));
        }
    }
    Ok(())
}
