//! A part of the plan on Quire: an experiment as `make bench` runs it, or the test programs from the console.
#![forbid(unsafe_code)]

use super::plan::Part;
use super::programs::Run;
use super::script::POOL_OF_PROGRAMS;
use crate::artefacts::Boot;
use crate::bench::boots::{self, Measured};
use crate::bench::experiment;
use crate::config::Options;
use crate::error::Error;
use crate::session::{Outcome, Session};

/// Measures the experiment of the part; `None` where it has none, or where it was given up.
///
/// # Errors
/// As for [`boots::measure_all`]; [`Error::Linux`] where the part cannot be chosen of the experiment.
pub fn measure(
    options: &Options,
    boot: &Boot,
    part: &Part,
    give_up: &(dyn Fn() -> bool + Sync),
) -> Result<Option<Measured>, Error> {
    let Some(argument) = part.argument() else { return Ok(None) };
    let chosen = experiment::choose(&argument, &experiment::all()?).map_err(Error::Linux)?;
    let mut measured = None;
    boots::measure_all(options, boot, &chosen, 1, give_up, |_, all| {
        measured = Some(all.ours);
        Ok(())
    })?;
    Ok(measured)
}

/// Runs test programs, one after the other, and powers off.
///
/// # Errors
/// As for [`Session::boot`] and [`Session::finish_unless`].
pub fn programs(
    options: &Options,
    boot: &Boot,
    runs: &[Run],
    give_up: impl FnMut() -> bool,
) -> Result<Outcome, Error> {
    let mut options = options.clone();
    // As Linux is set for them.
    options.append = format!("tour=off thp=always hugepages={POOL_OF_PROGRAMS} {}", options.append);
    let mut session = Session::boot(&options, boot)?;
    for run in runs {
        session.send_line(&format!("run {}", run.words))?;
    }
    session.send_line("poweroff")?;
    session.finish_unless(give_up)
}
