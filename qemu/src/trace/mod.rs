//! Traces: a command of the console, with tracepoints on, as a file for ui.perfetto.dev.
//!
//! ```text
//!   session: trace on, the command, trace off, trace dump ──► log
//!       log ── dump ──► Dump ── tracks ──► one track a CPU ── chrome ──► JSON ── check ──► Found ─┐
//!                        └ what was counted while points were on ──────────────────── table ◄────┘
//! ```
//! What is held against the counters is what was read back from the file.
//!
//! | file | what |
//! |---|---|
//! | [`dump`] | the lines of `trace dump` |
//! | [`tracks`] | what each CPU did: slices cut where their thread left, and gone on with where it went on |
//! | [`chrome`] | the Chrome trace event format |
//! | [`check`] | a file of it: slices begin, nest and end |
//! | [`table`] | the file against the counters |

pub mod check;
pub mod chrome;
pub mod dump;
pub mod table;
pub mod tracks;

use crate::artefacts::Boot;
use crate::config::Options;
use crate::error::Error;
use crate::session::{Outcome, Session, Status};
use std::time::Duration;

/// What is to be traced.
#[derive(Clone, Debug)]
pub struct Request {
    /// The command, as it is typed on the console.
    pub command: String,
    /// The words of `trace on`.
    pub points: String,
    /// The words of `trace filter`; empty: everything.
    pub filter: String,
    /// KiB of each CPU's ring.
    pub buffer: String,
}

/// How long the first line of the machine may take.
const SILENCE: Duration = Duration::from_secs(60);
/// What a line begins with that says why a command could not do what was asked.
const ERROR: &str = "error: ";

impl Request {
    fn lines(&self) -> Vec<String> {
        let filter = (!self.filter.is_empty()).then(|| format!("trace filter {}", self.filter));
        let mut lines = vec![format!("trace buffer {}", self.buffer)];
        lines.extend(filter);
        // Without changes of threads nobody could tell on which CPU a slice goes on.
        lines.push(format!("trace on {} switch", self.points));
        lines.push(self.command.clone());
        lines.extend(["trace off", "trace dump", "poweroff"].map(str::to_owned));
        lines
    }
}

/// Boots a machine without a tour and types it.
///
/// # Errors
/// As for [`Session::boot`] and [`Session::finish_unless`].
pub fn run(
    options: &Options,
    boot: &Boot,
    request: &Request,
    give_up: impl FnMut() -> bool,
) -> Result<Outcome, Error> {
    let mut options = options.clone();
    options.append = format!("{} tour=off", options.append).trim().to_owned();
    let mut session = Session::boot(&options, boot)?;
    // Before its first line the kernel has not set its UART up, which would lose what is typed.
    let _ = session.wait_for("\n", SILENCE);
    for line in request.lines() {
        // A machine that has ended already takes no more input; its outcome tells.
        let _ = session.send_line(&line);
    }
    session.finish_unless(give_up)
}

/// Why what the machine said is of no use: it did not end well, or a command could not do what was asked.
#[must_use]
pub fn complaint(outcome: &Outcome) -> Option<String> {
    match outcome.status {
        Status::Exited(0) => {}
        Status::Exited(status) => return Some(format!("the machine ended with status {status}")),
        Status::TimedOut(limit) => {
            return Some(format!("the time limit of {} s has passed (TIMEOUT= sets it)", limit.as_secs()));
        }
        Status::GivenUp => return Some("it was ended by a signal".to_owned()),
    }
    said(&outcome.log).find(|line| line.starts_with(ERROR)).map(|line| format!("the kernel: {line}"))
}

/// What was said between the commands that begin and end the trace.
pub fn said(log: &str) -> impl Iterator<Item = &str> {
    let typed = |line: &str, command: &str| line.trim_end().ends_with(command) && line.starts_with("quire>");
    log.lines()
        .skip_while(move |line| !typed(line, "") || !line.contains("> trace"))
        .take_while(move |line| !typed(line, "trace dump"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a machine said that ended well and printed this.
    fn outcome(log: &str) -> Outcome {
        Outcome { status: Status::Exited(0), log: log.to_owned() }
    }

    /// A word that the console refuses is a complaint; what stands before the trace, and in the dump, is none.
    #[test]
    fn what_the_console_refuses() {
        let log =
            "error: CPU 3 stays off\nquire> trace buffer 8\nquire> trace on\nquire> experiment nosuch\n";
        let end = "quire> trace off\nquire> trace dump\nerror: 1\n";
        assert_eq!(complaint(&outcome(&format!("{log}{end}"))), None);
        let refused = format!("{log}error: there is no part `nosuch`\n{end}");
        assert_eq!(complaint(&outcome(&refused)).unwrap(), "the kernel: error: there is no part `nosuch`");
        let failed = Outcome { status: Status::Exited(1), log: String::new() };
        assert_eq!(complaint(&failed).unwrap(), "the machine ended with status 1");
    }
}
