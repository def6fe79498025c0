//! Files that can be read in one go.

use crate::tree::rust_files;

/// One concept a file: none is longer than 600 lines, and a table of contents is shorter than 150.
#[test]
fn files_are_short() {
    let mut long = Vec::new();
    for file in rust_files() {
        let lines = file.text.lines().count();
        let most = if file.path.ends_with("/mod.rs") || file.path.ends_with("/lib.rs") { 149 } else { 600 };
        if lines > most {
            long.push(format!("{}: {lines} lines, {most} at most", file.path));
        }
    }
    assert!(long.is_empty(), "{}", long.join("\n"));
}
