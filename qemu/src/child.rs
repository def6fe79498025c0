//! A QEMU that cannot outlive us.
//!
//! Dropping a [`Child`] kills and reaps it. Should the runner itself be killed, Linux kills QEMU in its place
//! (`PR_SET_PDEATHSIG`). That signal follows the *thread* that started the child, so a machine is started by a
//! thread that lives at least as long as the machine.

use crate::error::Error;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, ExitStatus};
use std::time::Duration;

/// Which process group the child is in, that is, whether Ctrl-C and the terminal reach it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    /// The caller's: needed to read the terminal.
    Shared,
    /// Its own: only we end it.
    Own,
}

/// A child process that dies with its owner.
#[derive(Debug)]
pub struct Child {
    inner: std::process::Child,
}

impl Child {
    /// Starts `command`.
    ///
    /// # Errors
    /// [`Error::Start`] with the program's name.
    pub fn start(mut command: Command, group: Group) -> Result<Child, Error> {
        if group == Group::Own {
            command.process_group(0);
        }
        die_with_parent(&mut command);
        let name = command.get_program().to_string_lossy().into_owned();
        command.spawn().map(|inner| Child { inner }).map_err(|error| Error::Start(name, error))
    }

    /// The process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.inner.id()
    }

    /// The child's standard input, the first time it is asked for.
    pub fn take_stdin(&mut self) -> Option<std::process::ChildStdin> {
        self.inner.stdin.take()
    }

    /// Waits until the child has ended or `give_up` says so (it is asked a hundred times a second); `None` if
    /// the child still runs then.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn wait(&mut self, mut give_up: impl FnMut() -> bool) -> Result<Option<ExitStatus>, Error> {
        loop {
            if let Some(status) = self.inner.try_wait()? {
                return Ok(Some(status));
            }
            if give_up() {
                return Ok(None);
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Ends it now.
    pub fn kill(&mut self) {
        // Both fail only if it has ended already.
        let _ = self.inner.kill();
        let _ = self.inner.wait();
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The exit status as a shell counts: the status itself, or 128 and the signal's number.
#[must_use]
pub fn shell_status(status: ExitStatus) -> i32 {
    status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0))
}

#[cfg(target_os = "linux")]
fn die_with_parent(command: &mut Command) {
    use rustix::process::{Signal, getpid, getppid, set_parent_process_death_signal};
    let parent = getpid();
    let ask = move || {
        set_parent_process_death_signal(Some(Signal::KILL))?;
        // A parent that died before the call above sends no signal any more.
        if getppid() == Some(parent) { Ok(()) } else { Err(std::io::ErrorKind::BrokenPipe.into()) }
    };
    // SAFETY: between fork and exec `ask` only makes system calls (prctl, getppid) and builds an error without
    // allocating: it takes no lock and touches no memory that another thread of the parent may have left half
    // written.
    unsafe { command.pre_exec(ask) };
}

#[cfg(not(target_os = "linux"))]
fn die_with_parent(_: &mut Command) {}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    fn sleeper() -> Command {
        let mut command = Command::new("sleep");
        command.arg("60");
        command
    }

    fn runs(id: u32) -> bool {
        std::fs::read_to_string(format!("/proc/{id}/stat"))
            .is_ok_and(|stat| !stat.rsplit(')').next().is_some_and(|rest| rest.trim().starts_with('Z')))
    }

    /// A dropped child is gone, not merely asked to go.
    #[test]
    fn dropping_ends_it() {
        let child = Child::start(sleeper(), Group::Own).unwrap();
        let id = child.id();
        assert!(runs(id));
        drop(child);
        assert!(!runs(id));
    }

    /// The thread that started it ends without dropping it: the kernel ends the child.
    #[cfg(target_os = "linux")]
    #[test]
    fn forgetting_ends_it_too() {
        let id = std::thread::spawn(|| {
            let child = Child::start(sleeper(), Group::Own).unwrap();
            let id = child.id();
            std::mem::forget(child);
            id
        })
        .join()
        .unwrap();
        let deadline = Instant::now() + Duration::from_secs(10);
        while runs(id) {
            assert!(Instant::now() < deadline, "process {id} outlived the thread that started it");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Giving up is heeded, and the status is the shell's.
    #[test]
    fn giving_up_and_status() {
        let mut child = Child::start(sleeper(), Group::Own).unwrap();
        assert!(child.wait(|| true).unwrap().is_none());
        let mut command = Command::new("sh");
        command.args(["-c", "exit 7"]);
        let status = Child::start(command, Group::Own).unwrap().wait(|| false).unwrap().unwrap();
        assert_eq!(shell_status(status), 7);
        let mut command = Command::new("sh");
        command.args(["-c", "kill -9 $$"]);
        let status = Child::start(command, Group::Own).unwrap().wait(|| false).unwrap().unwrap();
        assert_eq!(shell_status(status), 137);
    }

    /// A program that does not exist is named in the error.
    #[test]
    fn absent_program_is_named() {
        let error = Child::start(Command::new("qemu-of-nowhere"), Group::Own).unwrap_err().to_string();
        assert!(error.contains("qemu-of-nowhere") && error.contains("no such program"), "{error}");
    }
}
