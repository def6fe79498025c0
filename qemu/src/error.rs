//! What can go wrong before and around a run; each is a sentence for the person at the terminal.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// Why a machine could not be started or talked to.
#[derive(Debug)]
pub enum Error {
    /// A machine option has a value that is not permitted: key, value, what is.
    Option {
        /// The key in `machine.conf`, or the variable.
        key: String,
        /// The value that was given.
        value: String,
        /// What would be permitted.
        permitted: &'static str,
    },
    /// A line of `machine.conf` that is neither a comment, a section nor `key = value`: line number, text.
    Line(usize, String),
    /// A section of `machine.conf` that does not exist.
    Section(String),
    /// The kernel's file is not what the runner can boot: path, reason.
    Kernel(PathBuf, String),
    /// A program could not be started: its name, why.
    Start(String, io::Error),
    /// A file could not be read or written.
    File(PathBuf, io::Error),
    /// What was waited for did not come: the pattern, why, the last lines of the log.
    Wait {
        /// The text that was waited for.
        pattern: String,
        /// Time is up, or the machine has ended.
        why: &'static str,
        /// The last lines of the log.
        tail: String,
    },
    /// No recording was made: why, the last lines of the machine's log.
    Recording {
        /// What was in the way.
        why: String,
        /// The last lines of the log.
        tail: String,
    },
    /// Nothing was traced: why.
    Trace(String),
    /// A fault was not taken apart: why.
    Parts(String),
    /// Linux cannot be had, or not be run: a sentence.
    Linux(String),
    /// Talking to a running machine failed.
    Io(io::Error),
}

impl Error {
    /// For `map_err`: names the file that an I/O error is about.
    pub fn file(path: impl AsRef<Path>) -> impl FnOnce(io::Error) -> Error {
        let path = path.as_ref().to_path_buf();
        move |error| Error::File(path, error)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Option { key, value, permitted } => {
                write!(f, "{key}={value}: permitted is {permitted}")
            }
            Error::Line(number, text) => {
                write!(f, "qemu/machine.conf:{number}: `{text}` is no `key = value` with a known key")
            }
            Error::Section(name) => write!(f, "qemu/machine.conf has no section [{name}]"),
            Error::Kernel(path, reason) => write!(f, "{}: {reason}", path.display()),
            Error::Start(program, error) if error.kind() == io::ErrorKind::NotFound => {
                write!(f, "{program}: there is no such program (QEMU= and GDB= name others)")
            }
            Error::Start(program, error) => write!(f, "{program} cannot be started: {error}"),
            Error::File(path, error) => write!(f, "{}: {error}", path.display()),
            Error::Wait { pattern, why, tail } => {
                write!(f, "waited for `{pattern}`, but {why}; the last lines were:\n{tail}")
            }
            Error::Recording { why, tail } if tail.is_empty() => write!(f, "nothing was recorded: {why}"),
            Error::Recording { why, tail } => {
                write!(f, "nothing was recorded: {why}; the last lines were:\n{tail}")
            }
            Error::Trace(why) | Error::Parts(why) => f.write_str(why),
            Error::Linux(sentence) => f.write_str(sentence),
            Error::Io(error) => write!(f, "the machine cannot be talked to: {error}"),
        }
    }
}

impl std::error::Error for Error {}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        Error::Io(error)
    }
}
