//! The machine, halted before its first instruction, or a recording of it at its end, with gdb attached.
//!
//! The stub listens on a socket of its own in the temporary folder, so that any number of sessions can run side by
//! side. gdb gets the kernel's symbols and `qemu/gdb/quire.py`. QEMU ends when gdb does.

use crate::artefacts::{Boot, root};
use crate::child::{Child, Group, shell_status};
use crate::command::Console;
use crate::config::Options;
use crate::error::Error;
use crate::record::Recording;
use crate::session::{Session, Sink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// A halted machine and the socket at which it waits.
pub struct Debugger {
    /// The machine; its log has the guest's console.
    pub session: Session,
    socket: Socket,
    options: Options,
    elf: PathBuf,
    /// What gdb does first, once it is attached.
    first: &'static [&'static str],
}

/// A finished gdb.
#[derive(Clone, Debug)]
pub struct Transcript {
    /// gdb's exit status as a shell counts; `None` if it was ended because time was up.
    pub status: Option<i32>,
    /// What gdb wrote, standard error included.
    pub output: String,
}

impl Debugger {
    /// Starts the machine; `sink` gets the guest's console.
    ///
    /// # Errors
    /// [`Error::Start`]; [`Error::Wait`] if QEMU opens no socket.
    pub fn halt(options: &Options, boot: &Boot, sink: Sink) -> Result<Debugger, Error> {
        let socket = Socket::fresh();
        let session = Session::start(options, boot, Console::Halted(&socket.0), sink)?;
        socket.wait(&session)?;
        Ok(Debugger { session, socket, options: options.clone(), elf: boot.elf.clone(), first: &[] })
    }

    /// Replays a recording of `boot`: gdb finds the machine at the recording's end.
    ///
    /// # Errors
    /// As for [`Debugger::halt`].
    pub fn replay(recording: &Recording, boot: &Boot, sink: Sink) -> Result<Debugger, Error> {
        let (socket, options) = (Socket::fresh(), recording.replayed());
        let session = Session::start(&options, boot, Console::Replayed(&socket.0), sink)?;
        socket.wait(&session)?;
        Ok(Debugger { session, socket, options, elf: boot.elf.clone(), first: &["-ex", "replay end"] })
    }

    /// The gdb command that attaches, with the scripts loaded, `GDB_ARGS` and then `more` at the end.
    #[must_use]
    pub fn command(&self, more: &[&str]) -> Command {
        let mut command = Command::new(&self.options.gdb);
        command
            .args(["-q", "-iex", "set pagination off", "-ex", "set confirm off", "-x"])
            .arg(root().join("qemu/gdb/quire.py"))
            .args(["-ex", &format!("target remote {}", self.socket.0.display())])
            .args(self.first)
            .args(&self.options.gdb_args)
            .args(more)
            .arg(&self.elf)
            .current_dir(root());
        command
    }

    /// Lets a person debug: gdb has the terminal until it ends or `give_up` answers true; returns its exit status.
    ///
    /// # Errors
    /// [`Error::Start`], [`Error::Io`].
    pub fn attach(self, give_up: impl FnMut() -> bool) -> Result<i32, Error> {
        let mut gdb = Child::start(self.command(&[]), Group::Shared)?;
        let status = gdb.wait(give_up)?.map_or(128, shell_status);
        // What the guest wrote last is shown before we go.
        self.session.finish_unless(|| true)?;
        Ok(status)
    }

    /// Runs gdb by itself with `more` arguments (`-batch`, `-x FILE`, `-ex COMMAND`), for at most `limit`.
    ///
    /// # Errors
    /// [`Error::Start`], [`Error::Io`], [`Error::File`].
    pub fn script(&self, more: &[&str], limit: Duration) -> Result<Transcript, Error> {
        let transcript = self.socket.0.with_extension("gdb");
        let file = std::fs::File::create(&transcript).map_err(Error::file(&transcript))?;
        let mut command = self.command(more);
        command.stdin(Stdio::null()).stderr(file.try_clone()?).stdout(file);
        let deadline = Instant::now() + limit;
        let status = Child::start(command, Group::Own)?.wait(|| Instant::now() >= deadline)?;
        let output = std::fs::read(&transcript).map_err(Error::file(&transcript))?;
        std::fs::remove_file(&transcript).map_err(Error::file(&transcript))?;
        Ok(Transcript {
            status: status.map(shell_status),
            output: String::from_utf8_lossy(&output).into_owned(),
        })
    }
}

/// A path for a socket; the file is removed when dropped. Not in the tree: its path may be too long for a socket.
struct Socket(PathBuf);

impl Socket {
    fn fresh() -> Socket {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        Socket(std::env::temp_dir().join(format!("quire-{}-{number}.sock", std::process::id())))
    }

    fn wait(&self, session: &Session) -> Result<(), Error> {
        let deadline = Instant::now() + Duration::from_secs(20);
        while !Path::exists(&self.0) {
            if Instant::now() >= deadline {
                let pattern = self.0.display().to_string();
                return Err(Error::Wait { pattern, why: "QEMU did not open it", tail: session.log() });
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        // QEMU may have removed it already.
        let _ = std::fs::remove_file(&self.0);
    }
}
