//! The files of the tree, and that they need nothing beside it.

use std::path::{Path, PathBuf};

/// One text file.
pub(crate) struct File {
    /// Its path from the top of the tree, with `/`.
    pub(crate) path: String,
    /// What is in it.
    pub(crate) text: String,
}

/// All text files of the tree, but those that a build or git makes.
pub(crate) fn files() -> Vec<File> {
    let mut files = Vec::new();
    gather(qemu::root(), &mut files);
    assert!(files.len() > 30, "only {} files: is this the tree?", files.len());
    files
}

/// All files of Rust.
pub(crate) fn rust_files() -> Vec<File> {
    files().into_iter().filter(|file| file.path.ends_with(".rs")).collect()
}

fn gather(folder: &Path, files: &mut Vec<File>) {
    let mut paths: Vec<PathBuf> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    for path in paths {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if path.is_dir() {
            if !["target", ".git", "__pycache__"].contains(&name.as_ref()) {
                gather(&path, files);
            }
        } else if name != ".git"
            && let Ok(text) = std::fs::read_to_string(&path)
        {
            let inside = path.strip_prefix(qemu::root()).unwrap_or(&path);
            files.push(File { path: inside.to_string_lossy().into_owned(), text });
        }
    }
}

/// Nothing points to a folder beside the tree or to somebody's home.
#[test]
fn the_tree_stands_alone() {
    let foreign =
        [concat!("../", "shared"), concat!("/work", "/"), concat!("/root", "/"), concat!("/home", "/")];
    let mut found = Vec::new();
    for file in files() {
        for (number, line) in file.text.lines().enumerate() {
            if foreign.iter().any(|path| line.contains(path)) {
                found.push(format!("{}:{}: {}", file.path, number + 1, line.trim()));
            }
        }
    }
    assert!(found.is_empty(), "paths that lead out of the tree:\n{}", found.join("\n"));
}
