//! Copies of the tree, to be built on their own.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::Path;

/// Makes `to` hold what `from` does, but for what builds and git make. What is the same already stays untouched, so
/// that what was built stays built.
///
/// # Errors
/// A file or folder cannot be read, written or removed.
pub fn mirror(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(to)? {
        let entry = entry?;
        if is_made(&entry.file_name()) || from.join(entry.file_name()).exists() {
            continue;
        }
        if entry.path().is_dir() { fs::remove_dir_all(entry.path())? } else { fs::remove_file(entry.path())? }
    }
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (source, copy) = (entry.path(), to.join(entry.file_name()));
        if is_made(&entry.file_name()) {
            continue;
        }
        if source.is_dir() {
            mirror(&source, &copy)?;
        } else if fs::read(&copy).ok() != Some(fs::read(&source)?) {
            fs::copy(&source, &copy)?;
        }
    }
    Ok(())
}

fn is_made(name: &OsStr) -> bool {
    name == "target" || name == ".git"
}
