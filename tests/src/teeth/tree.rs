//! Copies of the tree, in which mutations are made.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::list::{Mutation, Target};
use crate::copies::mirror;

/// Seconds that a build may take.
const BUILD_SECONDS: u32 = 900;

/// A copy of the tree below `target/teeth`, with builds of its own.
pub struct Tree {
    original: PathBuf,
    root: PathBuf,
}

/// What a run of tests said.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Ran {
    /// All passed: their names.
    Passed(Vec<String>),
    /// The first that failed; empty where the program died before it could say.
    Failed(String),
    /// They did not end in time.
    Hung,
}

impl Tree {
    /// Copy `n` of the tree at `original`, brought up to date: files that are the same stay untouched, so that
    /// what was built stays built.
    ///
    /// # Errors
    /// A file cannot be copied.
    pub fn new(original: &Path, n: usize) -> io::Result<Tree> {
        let root = original.join(format!("target/teeth/{n}"));
        mirror(original, &root)?;
        Ok(Tree { original: original.to_owned(), root })
    }

    /// Makes the mutation, runs `f`, and takes it back.
    ///
    /// # Errors
    /// A sentence: the mutation has gone stale, a file cannot be written, or what `f` says.
    pub fn with<R>(&self, mutation: &Mutation, f: impl FnOnce() -> Result<R, String>) -> Result<R, String> {
        let mutated = mutation.mutated(&self.original)?;
        let path = self.root.join(&mutation.file);
        let in_words = |error: io::Error| format!("{}: {error}", path.display());
        fs::write(&path, mutated).map_err(in_words)?;
        let result = f();
        let original = fs::read(self.original.join(&mutation.file)).map_err(in_words)?;
        fs::write(&path, original).map_err(in_words)?;
        result
    }

    /// Builds the tests of these cargo arguments.
    ///
    /// # Errors
    /// What the compiler said.
    pub fn build(&self, arguments: &[&str]) -> Result<(), String> {
        let (status, said) = self.cargo(BUILD_SECONDS, &[&["--no-run"], arguments].concat(), &[])?;
        if status == Some(0) { Ok(()) } else { Err(format!("does not build:\n{said}")) }
    }

    /// Runs the tests of these cargo arguments whose names contain one of `filters`, all if there is none.
    ///
    /// # Errors
    /// Cargo cannot be started.
    pub fn test(&self, seconds: u32, arguments: &[&str], filters: &[&str]) -> Result<Ran, String> {
        let (status, said) = self.cargo(seconds, arguments, filters)?;
        let ended = |how: &str| {
            let name = |line: &str| Some(line.strip_prefix("test ")?.split_once(how)?.0.to_owned());
            said.lines().filter_map(name).collect::<Vec<_>>()
        };
        Ok(match status {
            Some(0) => Ran::Passed(ended(" ... ok")),
            Some(TIMED_OUT) => Ran::Hung,
            _ => Ran::Failed(ended(" ... FAILED").into_iter().next().unwrap_or_default()),
        })
    }

    /// Runs `cargo test` for at most so many seconds. Returns its exit status and all that it said.
    fn cargo(
        &self,
        seconds: u32,
        arguments: &[&str],
        filters: &[&str],
    ) -> Result<(Option<i32>, String), String> {
        let mut command = Command::new("timeout");
        command.args(["--kill-after=5", &seconds.to_string()]);
        command.arg(self.root.join("qemu/toolchain.sh")).args(["host", "cargo", "test", "-j1"]);
        command.args(arguments).arg("--").args(filters);
        // Line numbers of a backtrace are of no interest here, and cost a third of the time.
        command.env("CARGO_PROFILE_DEV_DEBUG", "0").env("RUST_BACKTRACE", "0");
        command.current_dir(&self.root).stdin(Stdio::null());
        let output = command.output().map_err(|error| format!("cargo cannot be started: {error}"))?;
        let said = [output.stdout, output.stderr].concat();
        Ok((output.status.code(), String::from_utf8_lossy(&said).into_owned()))
    }
}

/// The exit status of `timeout` where the time is over.
const TIMED_OUT: i32 = 124;

impl Target {
    /// Cargo's arguments for the program in which the test stands.
    #[must_use]
    pub fn arguments(&self) -> Vec<&str> {
        let program = self.program.iter().map(String::as_str);
        ["-p", &self.package].into_iter().chain(program).collect()
    }
}
