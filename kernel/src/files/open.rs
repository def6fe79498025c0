//! From a path to a file that can be read, and written where it takes values.
#![forbid(unsafe_code)]

use core::fmt;

use mm::Mm;
use mm::kalloc::KArc;

use super::process::{self, ProcessFile, Whose};
use super::{File, FileError, Position, Written};
use crate::process::Process;

/// A file that was found. One of a process keeps what is left of that process, and says ESRCH once somebody has waited
/// for it.
pub enum Opened {
    /// A file of the machine.
    OfAll(&'static File),
    /// A file of a process.
    OfProcess(KArc<Process>, &'static ProcessFile),
}

/// Finds the file at the path. `own` is the process that asks, whose files are at `/proc/self`.
///
/// # Errors
/// [`FileError::NotFound`].
pub fn open(path: &str, own: Option<&KArc<Process>>) -> Result<Opened, FileError> {
    let Some((whose, name)) = process::parse(path) else {
        return super::find(path).map(Opened::OfAll);
    };
    let file = process::find(name)?;
    let process = match whose {
        Whose::Own => own.cloned(),
        Whose::Of(pid) => crate::process::find(pid),
    };
    Ok(Opened::OfProcess(process.ok_or(FileError::NotFound)?, file))
}

impl Opened {
    /// Writes all of it, where it is text.
    ///
    /// # Errors
    /// [`FileError::Binary`].
    pub fn print(&self, mm: &Mm, out: &mut dyn fmt::Write) -> Result<(), FileError> {
        match self {
            Opened::OfAll(file) => file.content.print(mm, out),
            Opened::OfProcess(process, file) => file.content.print(process, out),
        }
    }

    /// Whether it takes values.
    pub fn is_writable(&self) -> bool {
        match self {
            Opened::OfAll(file) => file.is_writable(),
            Opened::OfProcess(..) => false,
        }
    }

    /// Writes a value to it.
    ///
    /// # Errors
    /// [`FileError`]; nothing changed.
    pub fn write(&self, mm: &Mm, value: &str) -> Result<Written, FileError> {
        match self {
            Opened::OfAll(file) => file.write(mm, value),
            Opened::OfProcess(..) => Err(FileError::ReadOnly),
        }
    }

    /// Fills `into` from the position, which moves on by as many bytes; 0 at the end.
    ///
    /// # Errors
    /// What a binary file says of the offset or the length.
    pub fn read(&self, mm: &Mm, at: &mut Position, into: &mut [u8]) -> Result<usize, FileError> {
        match self {
            Opened::OfAll(file) => file.content.read(mm, at, into),
            Opened::OfProcess(process, file) => {
                if process.is_forgotten() {
                    return Err(FileError::NoProcess);
                }
                file.content.read(process, at, into)
            }
        }
    }
}
