//! Files of one process: `/proc/<pid>/<name>`, and `/proc/self/<name>` for the process that asks.
#![forbid(unsafe_code)]

use super::{Content, FileError, report};
use crate::process::Process;

/// One file of every process.
pub struct ProcessFile {
    /// The last part of its path.
    pub name: &'static str,
    /// What it says, in a few words.
    pub what: &'static str,
    /// How it is read.
    pub content: Content<Process>,
}

/// Every file of a process, in the order of their names.
pub const TABLE: &[ProcessFile] =
    &[COMM, report::MAPS, report::PAGEMAP, report::SMAPS, report::SMAPS_ROLLUP, report::STATUS];

const COMM: ProcessFile = ProcessFile {
    name: "comm",
    what: "the name of the program",
    content: Content::Text(|process, out| writeln!(out, "{}", process.name())),
};

/// The process that a path names.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Whose {
    /// The one that asks.
    Own,
    /// The one with this number.
    Of(u32),
}

/// Takes `/proc/<pid>/<name>` apart; `None` where the path is not of this form.
pub(super) fn parse(path: &str) -> Option<(Whose, &str)> {
    let (whose, name) = path.strip_prefix("/proc/")?.split_once('/')?;
    match whose {
        "self" => Some((Whose::Own, name)),
        pid if pid.bytes().all(|digit| digit.is_ascii_digit()) => Some((Whose::Of(pid.parse().ok()?), name)),
        _ => None,
    }
}

/// The file with this name.
pub(super) fn find(name: &str) -> Result<&'static ProcessFile, FileError> {
    TABLE.iter().find(|file| file.name == name).ok_or(FileError::NotFound)
}
