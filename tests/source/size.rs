//! Files that can be read in one go.

use crate::as_measured::AS_MEASURED;
use crate::tree::{File, files};

/// Is it a source, of ours to cut?
fn is_ours(file: &File) -> bool {
    let is_source = [".rs", ".c", ".h", ".py", ".sh", ".S", ".ld"].iter().any(|end| file.path.ends_with(end));
    is_source && !AS_MEASURED.iter().any(|(path, _)| file.path == *path)
}

/// One concept a file: none is longer than 600 lines, and a table of contents is shorter than 150. The two programs
/// that must stay as they were measured are excepted.
#[test]
fn files_are_short() {
    let mut long = Vec::new();
    for file in files().into_iter().filter(is_ours) {
        let lines = file.text.lines().count();
        let most = if file.path.ends_with("/mod.rs") || file.path.ends_with("/lib.rs") { 149 } else { 600 };
        if lines > most {
            long.push(format!("{}: {lines} lines, {most} at most", file.path));
        }
    }
    assert!(long.is_empty(), "{}", long.join("\n"));
}
