//! The machine with somebody in front of it: a person at a terminal, or a pipe.
//!
//! At a terminal QEMU owns the keyboard (raw mode, Ctrl-A x ends it); what it may leave changed is put back.
//! Without one, standard input is fed to the console as it comes, and at its end `poweroff` is typed, so that
//! `make run </dev/null` ends.

use crate::artefacts::Boot;
use crate::command::Console;
use crate::config::Options;
use crate::error::Error;
use crate::session::{Outcome, Session};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::termios::{OptionalActions, Termios, isatty, tcgetattr, tcsetattr};
use std::io::{self, Write};
use std::time::Duration;

/// Is there a person?
#[must_use]
pub fn is_interactive() -> bool {
    isatty(io::stdin())
}

/// How long a machine may write nothing before its input is typed nevertheless.
const SILENCE: Duration = Duration::from_secs(10);

/// Runs the machine on our standard streams until it ends, or `give_up` answers true.
///
/// # Errors
/// As for [`Session::start`] and [`Session::finish`].
pub fn run(options: &Options, boot: &Boot, give_up: impl FnMut() -> bool) -> Result<Outcome, Error> {
    let output = Box::new(io::stdout());
    if is_interactive() {
        let mut options = options.clone();
        options.limit = options.limit.filter(|_| options.is_asked_for("timeout"));
        let _saved = Saved::now();
        return Session::start(&options, boot, Console::Terminal, output)?.finish_unless(give_up);
    }
    let mut session = Session::start(options, boot, Console::Pipes, output)?;
    // Before its first line the kernel has not set its UART up, which would lose what is typed. A machine that stays
    // silent gets its input all the same.
    let _ = session.wait_for("\n", SILENCE);
    if let Some(console) = session.take_stdin() {
        std::thread::spawn(move || feed(io::stdin(), console));
    }
    session.finish_unless(give_up)
}

/// Feeds all of `from` to the console, then types `poweroff` on a line of its own. A machine that ends first closes
/// the console, which is no error.
fn feed(mut from: impl io::Read, mut console: impl Write) {
    let mut buffer = [0; 4096];
    let mut last = b'\n';
    loop {
        match from.read(&mut buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Ok(0) | Err(_) => break,
            Ok(count) => {
                last = buffer[count - 1];
                if console.write_all(&buffer[..count]).is_err() {
                    return;
                }
            }
        }
    }
    let end: &[u8] = if last == b'\n' { b"poweroff\n" } else { b"\npoweroff\n" };
    let _ = console.write_all(end);
}

/// The terminal as it was; put back when dropped.
pub struct Saved {
    termios: Option<Termios>,
    flags: Option<OFlags>,
}

impl Saved {
    /// Notes the state of the terminal on standard input.
    #[must_use]
    pub fn now() -> Saved {
        Saved { termios: tcgetattr(io::stdin()).ok(), flags: fcntl_getfl(io::stdin()).ok() }
    }
}

impl Drop for Saved {
    fn drop(&mut self) {
        // Without a terminal there is nothing to put back, and nobody to tell.
        if let Some(termios) = &self.termios {
            let _ = tcsetattr(io::stdin(), OptionalActions::Now, termios);
        }
        if let Some(flags) = self.flags {
            let _ = fcntl_setfl(io::stdin(), flags);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The piped lines arrive before the power goes off, also when the last line has no end.
    #[test]
    fn input_then_poweroff() {
        for (input, typed) in [
            ("", "poweroff\n"),
            ("meminfo\n", "meminfo\npoweroff\n"),
            ("meminfo\nselftest", "meminfo\nselftest\npoweroff\n"),
        ] {
            let mut console = Vec::new();
            feed(input.as_bytes(), &mut console);
            assert_eq!(String::from_utf8(console).unwrap(), typed);
        }
    }
}
