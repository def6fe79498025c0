//! Settings and counters under the paths that they have on Linux.
//!
//! A file is a row of [`TABLE`]: its path, what it says, how it is read, and how it is written where it can be. A
//! value that is refused is refused with what is permitted, and changes nothing. Files of a process are rows of
//! [`OF_PROCESS`].
//!
//! | file | paths |
//! |---|---|
//! | `content` | what a file says, read piece by piece |
//! | `error` | why a path could not be read or written |
//! | `open` | from a path to a file |
//! | `process` | `/proc/<pid>/…`, `/proc/self/…` |
//! | `thp` | `/sys/kernel/mm/transparent_hugepage/…` |
//! | `hugetlb` | `/sys/kernel/mm/hugepages/…`, `/proc/sys/vm/…` |
//! | `report` | `/proc/<pid>/{maps,smaps,smaps_rollup,pagemap,status}`, `/proc/{kpagecount,kpageflags}` |
//! | `proc` | `/proc/meminfo`, `/proc/vmstat`, `/proc/buddyinfo` |
#![forbid(unsafe_code)]

mod content;
mod error;
mod hugetlb;
mod open;
mod proc;
mod process;
mod report;
mod thp;

use core::fmt;

use mm::Mm;
use mm::hvo::HvoError;

pub use content::{Content, Position};
pub use error::FileError;
pub use open::{Opened, open};
pub use process::TABLE as OF_PROCESS;

/// Takes a value, or refuses it and changes nothing.
type Write = fn(&Mm, &str) -> Result<Written, Refused>;

/// One file.
pub struct File {
    /// Its path.
    pub path: &'static str,
    /// What it says, in a few words.
    pub what: &'static str,
    /// How it is read.
    pub content: Content<Mm>,
    write: Option<Write>,
}

/// A value was taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Written {
    /// As it was given.
    Exactly,
    /// As far as possible: this is the value now.
    AsFarAs(u64),
}

/// A value was refused; nothing changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refused {
    /// It is not a number of this range.
    Number {
        /// Lowest permitted value.
        low: u64,
        /// Highest permitted value.
        high: u64,
    },
    /// It is none of these words.
    Word(&'static [&'static str]),
    /// It is not possible on this machine.
    Hvo(HvoError),
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refused::Number { low, high } => write!(f, "must be a number from {low} to {high}"),
            Refused::Word(words) => {
                f.write_str("must be one of")?;
                words.iter().try_for_each(|word| write!(f, " {word}"))
            }
            Refused::Hvo(error) => error.fmt(f),
        }
    }
}

/// Every file, in the order of their paths.
pub const TABLE: &[&[File]] = &[
    proc::FILES,
    report::FRAMES,
    hugetlb::SYSCTL,
    hugetlb::SYSFS[0],
    hugetlb::SYSFS[1],
    hugetlb::SYSFS[2],
    hugetlb::SYSFS[3],
    thp::NUMBERS,
    thp::FILES,
];

/// Every file, in the order of [`TABLE`].
pub fn all() -> impl Iterator<Item = &'static File> {
    TABLE.iter().flat_map(|files| files.iter())
}

fn find(path: &str) -> Result<&'static File, FileError> {
    all().find(|file| file.path == path).ok_or(FileError::NotFound)
}

/// Writes what the file says to `out`.
///
/// # Errors
/// [`FileError::NotFound`], [`FileError::Binary`].
pub fn print(mm: &Mm, path: &str, out: &mut dyn fmt::Write) -> Result<(), FileError> {
    open(path, None)?.print(mm, out)
}

/// Writes a value to the file.
///
/// # Errors
/// [`FileError`]; nothing changed.
pub fn write(mm: &Mm, path: &str, value: &str) -> Result<Written, FileError> {
    find(path)?.write(mm, value)
}

impl File {
    /// Whether it takes values.
    pub fn is_writable(&self) -> bool {
        self.write.is_some()
    }

    fn write(&self, mm: &Mm, value: &str) -> Result<Written, FileError> {
        let write = self.write.ok_or(FileError::ReadOnly)?;
        write(mm, value.trim()).map_err(FileError::Value)
    }
}

/// A number of the range.
fn number(value: &str, low: u64, high: u64) -> Result<u64, Refused> {
    value.parse().ok().filter(|n| (low..=high).contains(n)).ok_or(Refused::Number { low, high })
}
