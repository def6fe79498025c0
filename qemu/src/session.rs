//! One running machine: send lines, wait for output, collect log and status.
//!
//! ```text
//!   send_line ──► stdin ─┐
//!                        QEMU ── stdout, stderr ──► reader thread ── symbols ──► log (wait_for), sink
//! ```
//!
//! A session has a time limit from its start on ([`Options::limit`]). Whatever happens, the QEMU is gone when the
//! session is: [`Session::finish`] waits for it, dropping ends it.

use crate::artefacts::Boot;
use crate::child::{Child, Group, shell_status};
use crate::command::{self, Console};
use crate::config::Options;
use crate::error::Error;
use crate::symbols::Symbols;
use std::io::{self, Read, Write};
use std::path::PathBuf;
use std::process::{ChildStdin, Stdio};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How a machine ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// By itself: the kernel's exit status, or QEMU's own.
    Exited(i32),
    /// The time limit passed and it was ended.
    TimedOut(Duration),
    /// The caller gave up and it was ended.
    GivenUp,
}

/// What remains of a machine.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// How it ended.
    pub status: Status,
    /// Everything that it and QEMU wrote, backtraces with names.
    pub log: String,
}

impl Outcome {
    /// The kernel powered off with status 0.
    #[must_use]
    pub fn success(&self) -> bool {
        self.status == Status::Exited(0)
    }
}

/// What the reader thread has seen so far.
#[derive(Default)]
struct Log {
    bytes: Vec<u8>,
    ended: bool,
}

#[derive(Default)]
struct Shared {
    log: Mutex<Log>,
    changed: Condvar,
}

/// A running machine.
pub struct Session {
    child: Child,
    stdin: Option<ChildStdin>,
    shared: Arc<Shared>,
    reader: Option<JoinHandle<()>>,
    started: Instant,
    limit: Option<Duration>,
    /// Where the next [`Session::wait_for`] begins to look.
    seen: usize,
}

/// Where a session's output goes besides the log.
pub type Sink = Box<dyn Write + Send>;

impl Session {
    /// Boots a machine, its console on pipes.
    ///
    /// # Errors
    /// [`Error::Start`].
    pub fn boot(options: &Options, boot: &Boot) -> Result<Session, Error> {
        Session::start(options, boot, Console::Pipes, Box::new(io::sink()))
    }

    /// Boots a machine with its console where `console` says; output goes to `sink` too, as it comes.
    ///
    /// # Errors
    /// [`Error::Start`].
    pub fn start(options: &Options, boot: &Boot, console: Console<'_>, sink: Sink) -> Result<Session, Error> {
        let mut command = command::qemu(options, boot, console);
        let (reader, writer) = io::pipe()?;
        command.stderr(writer.try_clone()?).stdout(writer);
        let group = match console {
            Console::Terminal => Group::Shared,
            Console::Pipes | Console::Halted(_) | Console::Replayed(_) => {
                command.stdin(Stdio::piped());
                Group::Own
            }
        };
        let mut child = Child::start(command, group)?;
        let shared = Arc::<Shared>::default();
        Ok(Session {
            stdin: child.take_stdin(),
            child,
            reader: Some(read_in_background(reader, boot.elf.clone(), Arc::clone(&shared), sink)),
            shared,
            started: Instant::now(),
            limit: options.limit,
            seen: 0,
        })
    }

    /// Types `line` and Enter. QEMU hands over what the guest has room for; the rest waits.
    ///
    /// # Errors
    /// [`Error::Io`], also once the machine has ended.
    pub fn send_line(&mut self, line: &str) -> Result<(), Error> {
        self.send(&format!("{line}\n"))
    }

    /// Types `text`.
    ///
    /// # Errors
    /// As for [`Session::send_line`].
    pub fn send(&mut self, text: &str) -> Result<(), Error> {
        let stdin = self.stdin.as_mut().ok_or_else(|| io::Error::from(io::ErrorKind::BrokenPipe))?;
        stdin.write_all(text.as_bytes())?;
        Ok(stdin.flush()?)
    }

    /// Gives the standard input of the machine away, for a thread that feeds it.
    pub fn take_stdin(&mut self) -> Option<ChildStdin> {
        self.stdin.take()
    }

    /// Waits until the machine writes `pattern` (plain text), behind what the last call found, and returns the
    /// line up to and with the pattern.
    ///
    /// # Errors
    /// [`Error::Wait`] if `limit` or the session's limit passes or the machine ends first.
    pub fn wait_for(&mut self, pattern: &str, limit: Duration) -> Result<String, Error> {
        let mut deadline = Instant::now() + limit;
        if let Some(limit) = self.limit {
            deadline = deadline.min(self.started + limit);
        }
        let mut log = lock(&self.shared);
        loop {
            if let Some(at) = find(&log.bytes[self.seen..], pattern.as_bytes()) {
                let end = self.seen + at + pattern.len();
                let start = log.bytes[..end].iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
                self.seen = end;
                return Ok(String::from_utf8_lossy(&log.bytes[start.min(end)..end]).into_owned());
            }
            let left = deadline.saturating_duration_since(Instant::now());
            let why = match (log.ended, left.is_zero()) {
                (true, _) => "the machine has ended",
                (_, true) => "time is up",
                _ => {
                    let waited = self.shared.changed.wait_timeout(log, left);
                    log = waited.unwrap_or_else(PoisonError::into_inner).0;
                    continue;
                }
            };
            let text = String::from_utf8_lossy(&log.bytes).into_owned();
            return Err(Error::Wait { pattern: pattern.to_owned(), why, tail: tail(&text, 20).to_owned() });
        }
    }

    /// What was written so far.
    #[must_use]
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&lock(&self.shared).bytes).into_owned()
    }

    /// Whether nothing more can come: the machine has ended, or its limit has passed.
    #[must_use]
    pub fn is_over(&self) -> bool {
        lock(&self.shared).ended || self.limit.is_some_and(|limit| self.started.elapsed() >= limit)
    }

    /// The process id of QEMU.
    #[must_use]
    pub fn qemu_id(&self) -> u32 {
        self.child.id()
    }

    /// Waits for the end of the machine; past its limit it is ended.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn finish(self) -> Result<Outcome, Error> {
        self.finish_unless(|| false)
    }

    /// As [`Session::finish`], and ends the machine as soon as `give_up` answers true.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn finish_unless(mut self, mut give_up: impl FnMut() -> bool) -> Result<Outcome, Error> {
        let (started, limit) = (self.started, self.limit);
        let late = || limit.filter(|limit| started.elapsed() >= *limit);
        let status = match self.child.wait(|| late().is_some() || give_up())? {
            Some(status) => Status::Exited(shell_status(status)),
            None => late().map_or(Status::GivenUp, Status::TimedOut),
        };
        self.child.kill();
        if let Some(reader) = self.reader.take() {
            // A panic of the reader would lose lines, never invent any; the log is what it has.
            let _ = reader.join();
        }
        Ok(Outcome { status, log: self.log() })
    }
}

/// The last `count` lines of `text`.
#[must_use]
pub fn tail(text: &str, count: usize) -> &str {
    let trimmed = text.trim_end();
    let start = trimmed.rmatch_indices('\n').nth(count.saturating_sub(1)).map_or(0, |(at, _)| at + 1);
    &trimmed[start..]
}

fn lock(shared: &Shared) -> std::sync::MutexGuard<'_, Log> {
    shared.log.lock().unwrap_or_else(PoisonError::into_inner)
}

fn find(text: &[u8], pattern: &[u8]) -> Option<usize> {
    text.windows(pattern.len().max(1)).position(|window| window == pattern)
}

fn read_in_background(
    mut from: impl Read + Send + 'static,
    elf: PathBuf,
    shared: Arc<Shared>,
    mut sink: Sink,
) -> JoinHandle<()> {
    std::thread::spawn(move || {
        let mut symbols = Symbols::new(elf);
        let mut buffer = [0; 4096];
        loop {
            let count = match from.read(&mut buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Ok(0) | Err(_) => break,
                Ok(count) => count,
            };
            let mut bytes = Vec::with_capacity(count);
            symbols.feed(&buffer[..count], &mut bytes);
            // A reader that went away (`make run | head`) must not stop the machine half-way.
            let _ = sink.write_all(&bytes).and_then(|()| sink.flush());
            lock(&shared).bytes.extend_from_slice(&bytes);
            shared.changed.notify_all();
        }
        lock(&shared).ended = true;
        shared.changed.notify_all();
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A shell script stands in for QEMU: it ignores its arguments.
    fn impostor(script: &str, limit: Duration) -> Session {
        let path = std::env::temp_dir().join(format!(
            "quire-impostor-{}-{:?}",
            std::process::id(),
            std::thread::current().id()
        ));
        std::fs::write(&path, format!("#!/bin/sh\nrm $0\n{script}\n")).unwrap();
        let mut permissions = std::fs::metadata(&path).unwrap().permissions();
        std::os::unix::fs::PermissionsExt::set_mode(&mut permissions, 0o755);
        std::fs::set_permissions(&path, permissions).unwrap();
        let mut options = Options::for_tests().unwrap();
        options.qemu = path.to_str().unwrap().to_owned();
        options.limit = Some(limit);
        let boot = Boot { elf: "kernel".into(), image: "Image".into(), initrd: "initrd".into() };
        loop {
            match Session::boot(&options, &boot) {
                // Another test's child has inherited the file, open for writing, and not come to its exec yet.
                Err(Error::Start(_, error)) if error.kind() == io::ErrorKind::ExecutableFileBusy => {
                    std::thread::yield_now();
                }
                session => return session.unwrap(),
            }
        }
    }

    const LONG: Duration = Duration::from_secs(60);

    /// Lines go in, output comes out in order, the status passes through, stderr is in the log.
    #[test]
    fn a_conversation() {
        let script = "printf 'ready> '; read line; echo got $line; echo bad >&2; exit 3";
        let mut session = impostor(script, LONG);
        assert_eq!(session.wait_for("ready> ", LONG).unwrap(), "ready> ");
        session.send_line("selftest").unwrap();
        assert_eq!(session.wait_for("selftest", LONG).unwrap(), "ready> got selftest");
        let outcome = session.finish().unwrap();
        assert_eq!(outcome.status, Status::Exited(3));
        assert!(outcome.log.contains("bad\n") && !outcome.success());
    }

    /// What never comes is an error that shows the log: at the end of the machine, or when time is up.
    #[test]
    fn waiting_in_vain() {
        let error = impostor("echo panicked; exit 1", LONG).wait_for("prompt", LONG).unwrap_err().to_string();
        assert!(error.contains("has ended") && error.contains("panicked"), "{error}");
        let mut session = impostor("exec sleep 60", LONG);
        let error = session.wait_for("prompt", Duration::from_millis(20)).unwrap_err().to_string();
        assert!(error.contains("time is up"), "{error}");
    }

    /// A machine that hangs is ended at its limit, one that is given up at once; neither is left behind.
    #[test]
    fn limits_are_kept() {
        let limit = Duration::from_millis(50);
        let session = impostor("exec sleep 60", limit);
        let process = format!("/proc/{}", session.qemu_id());
        assert_eq!(session.finish().unwrap().status, Status::TimedOut(limit));
        assert!(!std::path::Path::new(&process).exists());
        let session = impostor("exec sleep 60", LONG);
        assert_eq!(session.finish_unless(|| true).unwrap().status, Status::GivenUp);
    }

    /// The tail is whole lines.
    #[test]
    fn tails() {
        assert_eq!(tail("a\nb\nc\n", 2), "b\nc");
        assert_eq!(tail("a\nb\n", 5), "a\nb");
        assert_eq!(tail("", 3), "");
    }
}
