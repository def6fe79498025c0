//! The kernel in QEMU, as trials of `cargo test`.
//!
//! Each in-kernel self-test is one trial on each machine of the matrix, named like
//! `cortex-a72/smp2/el1/pmd/mask/mm-owner::hvo::restore_roundtrip`; beside them stand trials that boot a machine of
//! their own: the tour, what is typed on the console, crashes, gdb, and the runner itself. A filter boots only the
//! machines that it leaves: `cargo test -p tests --test machine -- smp1/el1/pmd/mask::hvo`.
//!
//! The matrix runs the `checked` kernel (debug assertions), the others the `release` kernel, as `make run` does.
#![forbid(unsafe_code, unstable_features)]

mod arguments;
mod bench;
mod console;
mod crash;
mod debug;
mod gigabyte;
mod leftover;
mod parts;
mod reverse;
mod selftests;
mod strategies;
mod tour;
mod trace;

use libtest_mimic::{Arguments, Conclusion, Failed, Trial};
use qemu::{Boot, Error, Options};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use tests::fleet::Permits;

/// Machines at a time. Each has up to four virtual CPUs; more machines only take longer.
const MACHINES: usize = 2;
/// The limit of one boot with all self-tests; several times what the slowest machine takes.
const LIMIT: Duration = Duration::from_secs(240);

/// What every trial needs to boot a machine.
pub(crate) struct Harness {
    options: Options,
    release: Boot,
    checked: Boot,
    permits: Arc<Permits>,
}

/// What a trial returns.
pub(crate) type Verdict = Result<(), Failed>;

impl Harness {
    fn new() -> Result<Harness, Error> {
        Ok(Harness {
            options: Options { limit: Some(LIMIT), ..Options::for_tests()? },
            release: Boot::prepare(&qemu::kernel("release"))?,
            checked: Boot::prepare(&qemu::kernel("checked"))?,
            permits: Arc::new(Permits::new(MACHINES)),
        })
    }

    /// A trial that has room for a machine while it runs.
    fn trial(
        self: &Arc<Self>,
        name: impl Into<String>,
        run: impl FnOnce(&Harness) -> Verdict + Send + 'static,
    ) -> Trial {
        let harness = Arc::clone(self);
        Trial::test(name, move || {
            let _permit = harness.permits.take();
            run(&harness)
        })
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    match run_all(&arguments) {
        Ok(conclusion) => conclusion.exit_code(),
        Err(error) => {
            eprintln!("the machine tests cannot begin: {error}");
            eprintln!(
                "(`make test` builds what they need; so does `make kernel kernel-checked programs runner`)"
            );
            ExitCode::FAILURE
        }
    }
}

fn run_all(arguments: &Arguments) -> Result<Conclusion, Error> {
    let harness = Arc::new(Harness::new()?);
    let mut trials = selftests::trials(&harness, arguments)?;
    let rooms = [
        arguments::trials,
        bench::trials,
        tour::trials,
        console::trials,
        crash::trials,
        debug::trials,
        reverse::trials,
        parts::trials,
        leftover::trials,
        gigabyte::trials,
        strategies::trials,
        trace::trials,
    ];
    for room in rooms {
        trials.extend(room(&harness));
    }
    Ok(libtest_mimic::run(arguments, trials))
}

/// A failure with a sentence and the log that it is about.
pub(crate) fn failed(sentence: impl std::fmt::Display, log: &str) -> Failed {
    Failed::from(format!("{sentence}\n--- log ---\n{}\n--- end of log ---", log.trim_end()))
}
