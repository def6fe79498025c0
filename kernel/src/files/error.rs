//! Why a path could not be read or written.
#![forbid(unsafe_code)]

use core::fmt;

use super::Refused;

/// Why a path could not be read or written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FileError {
    /// There is no such file.
    NotFound,
    /// The process whose file it is has been waited for, or has no memory that the file could tell of.
    NoProcess,
    /// The file cannot be written.
    ReadOnly,
    /// The file is not text.
    Binary,
    /// A binary file is not read at such an offset, or not with such a length.
    Unaligned,
    /// The value was refused.
    Value(Refused),
}

impl fmt::Display for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FileError::NotFound => f.write_str("No such file or directory (`ls` lists the files)"),
            FileError::NoProcess => f.write_str("No such process"),
            FileError::ReadOnly => f.write_str("Permission denied: the file can only be read"),
            FileError::Binary => f.write_str("is not text: programs can read it"),
            FileError::Unaligned => f.write_str("Invalid argument: neither offset nor length may cut a word"),
            FileError::Value(refused) => write!(f, "Invalid argument (EINVAL): {refused}"),
        }
    }
}
