//! What can go wrong; each is a sentence for the person at the terminal.

use crate::canvas::Failure;
use std::fmt;

/// Why there is no page, or it could not be looked at.
#[derive(Debug)]
pub enum Error {
    /// A file of the tree.
    Tree(qemu::Error),
    /// A picture could not be drawn.
    Drawing(Failure),
    /// The browser: its name, what happened, its last lines.
    Browser {
        /// The program.
        program: String,
        /// What happened.
        what: String,
        /// What it has said last; may be empty.
        tail: String,
    },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Tree(error) => error.fmt(f),
            Error::Drawing(failure) => write!(f, "a picture cannot be drawn: {failure}"),
            Error::Browser { program, what, tail } => {
                write!(f, "{program} {what} (CHROMIUM= names another)")?;
                if tail.is_empty() { Ok(()) } else { write!(f, "; it said last:\n{tail}") }
            }
        }
    }
}

impl std::error::Error for Error {}

impl From<qemu::Error> for Error {
    fn from(error: qemu::Error) -> Error {
        Error::Tree(error)
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Error {
        Error::Drawing(failure)
    }
}
