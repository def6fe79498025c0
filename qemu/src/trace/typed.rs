//! What is typed on the console for a trace, and whether the console does it.

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

/// What the console says when it waits for a line.
const PROMPT: &str = "quire> ";
/// How often it is looked whether all has been given up.
const TICK: Duration = Duration::from_millis(200);
/// What lines begin with that say why a command could not do what was asked, or how it is called.
const REFUSALS: [&str; 2] = ["error: ", "usage: "];

impl Request {
    /// What is typed as long as nothing is refused.
    fn asked(&self) -> Vec<String> {
        let filter = (!self.filter.is_empty()).then(|| format!("trace filter {}", self.filter));
        let mut lines = vec![format!("trace buffer {}", self.buffer)];
        lines.extend(filter);
        // Without changes of threads nobody could tell on which CPU a slice goes on.
        lines.push(format!("trace on {} switch", self.points));
        lines.push(self.command.clone());
        lines
    }
}

/// Boots a machine without a tour, types the request line by line, and then what dumps the trace.
///
/// # Errors
/// As for [`Session::boot`] and [`Session::finish_unless`]; [`Error::Trace`] if the machine refuses a line: the others are
/// not typed then.
pub fn run(
    options: &Options,
    boot: &Boot,
    request: &Request,
    mut give_up: impl FnMut() -> bool,
) -> Result<Outcome, Error> {
    let mut options = options.clone();
    options.append = format!("{} tour=off", options.append).trim().to_owned();
    let mut session = Session::boot(&options, boot)?;
    let mut goes_on = is_prompted(&mut session, &mut give_up);
    for line in request.asked() {
        // A machine that has ended already takes no more input; its outcome tells.
        goes_on = goes_on && session.send_line(&line).is_ok() && is_prompted(&mut session, &mut give_up);
        if let Some(why) = refusal(&session.log()) {
            return Err(Error::Trace(format!("`{line}` was refused: {why}")));
        }
    }
    for line in ["trace off", "trace dump", "poweroff"].iter().filter(|_| goes_on) {
        let _ = session.send_line(line);
    }
    session.finish_unless(give_up)
}

/// Waits until the console asks for a line; `false` where it will not.
fn is_prompted(session: &mut Session, give_up: &mut impl FnMut() -> bool) -> bool {
    while session.wait_for(PROMPT, TICK).is_err() {
        if session.is_over() || give_up() {
            return false;
        }
    }
    true
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
    refusal(&outcome.log).map(|line| format!("the kernel: {line}"))
}

/// The first line by which a command was refused.
fn refusal(log: &str) -> Option<&str> {
    said(log).find(|line| REFUSALS.iter().any(|begin| line.starts_with(begin)))
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
        let called = format!("{log}usage: experiment list\n{end}");
        assert_eq!(complaint(&outcome(&called)).unwrap(), "the kernel: usage: experiment list");
        let failed = Outcome { status: Status::Exited(1), log: String::new() };
        assert_eq!(complaint(&failed).unwrap(), "the machine ended with status 1");
    }
}
