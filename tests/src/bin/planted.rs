//! `planted`: puts a bug into a copy of the tree, lets a soak find it, and replays the seed that the soak printed.
//!
//! The copy is `target/planted/tree`; it and what is built from it stay for the next time.
#![forbid(unsafe_code, unstable_features)]

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use ::tests::copies::mirror;

/// Seeds within which a bug must be found.
const SEEDS: u64 = 1000;

/// A piece of source, and what stands in its place.
struct Edit {
    file: &'static str,
    old: &'static str,
    new: &'static str,
}

/// A bug.
struct Planted {
    name: &'static str,
    /// The scenario that must find it.
    scenario: &'static str,
    edits: &'static [Edit],
}

/// A way past `Broken::flush`, which the types of the tree do not offer.
const UNFLUSHED: Edit = Edit {
    file: "mm/src/pgtable/entry.rs",
    old: "impl<'l, const N: usize> Broken<'l, N> {\n",
    new: "impl<'l, const N: usize> Broken<'l, N> {\n    #[expect(missing_docs)]\n    \
          pub fn unflushed(self) -> Clean<'l, N> {\n        let Broken { first, old, owed } = self;\n        \
          core::mem::forget(owed);\n        Clean { first, old }\n    }\n",
};

/// The same past `BrokenRuns::flush`.
const UNFLUSHED_RUNS: Edit = Edit {
    file: "mm/src/pgtable/runs.rs",
    old: "impl<'l, 'r> BrokenRuns<'l, 'r> {\n",
    new: "impl<'l, 'r> BrokenRuns<'l, 'r> {\n    #[expect(missing_docs)]\n    \
          pub fn unflushed(self) -> CleanRuns<'l, 'r> {\n        let Stale { runs, owed } = self.0;\n        \
          core::mem::forget(owed);\n        CleanRuns(runs)\n    }\n",
};

const ALL: &[Planted] = &[
    Planted {
        name: "promote makes the block without the flush",
        scenario: "promotion",
        edits: &[
            UNFLUSHED,
            Edit {
                file: "mm/src/thp/exchange.rs",
                old: "let mut clean = broken.flush();",
                new: "let mut clean = broken.unflushed();",
            },
        ],
    },
    Planted {
        name: "hvo::restore makes the pages without the flush",
        scenario: "hvo",
        edits: &[
            UNFLUSHED_RUNS,
            Edit {
                file: "mm/src/hvo/window.rs",
                old: "let clean = broken.flush();\n        teller.tell_still(names.flushed, Owed::Make);",
                new: "let clean = match way {\n            Way::Optimise => broken.flush(),\n            \
                      Way::Restore => broken.unflushed(),\n        };\n        \
                      teller.tell_still(names.flushed, Owed::Make);",
            },
        ],
    },
];

fn main() -> ExitCode {
    let mut missed = 0;
    for planted in ALL {
        match try_one(planted) {
            Ok(found) => println!("planted: {}: {found}", planted.name),
            Err(wrong) => {
                println!("planted: {}: {wrong}", planted.name);
                missed += 1;
            }
        }
    }
    println!("planted: {} bugs, {} found and replayed", ALL.len(), ALL.len() - missed);
    ExitCode::from(u8::from(missed != 0))
}

/// Plants one bug, finds it, and replays it.
fn try_one(planted: &Planted) -> Result<String, String> {
    let tree = folder().join("tree");
    let told = |error: io::Error| format!("{}: {error}", tree.display());
    mirror(qemu::root(), &tree).map_err(told)?;
    planted.edits.iter().try_for_each(|edit| plant(&tree, edit))?;
    let soak = build(&tree)?;
    let found = run(&soak, planted.scenario, "SOAK_SEEDS", SEEDS)?;
    let found =
        found.ok_or_else(|| format!("not found by {SEEDS} seeds of the scenario {}", planted.scenario))?;
    let again = run(&soak, planted.scenario, "MMU_SEED", found.seed)?;
    if again.as_ref() != Some(&found) {
        return Err(format!("MMU_SEED={} replays {again:?}, but {found:?} was found", found.seed));
    }
    Ok(format!("found with seed {} and replayed: {}", found.seed, found.sentence))
}

fn folder() -> PathBuf {
    qemu::root().join("target/planted")
}

fn plant(tree: &Path, edit: &Edit) -> Result<(), String> {
    let text = edited(tree, edit)?;
    fs::write(tree.join(edit.file), text).map_err(|error| format!("{}: {error}", edit.file))
}

/// The file with the edit made.
fn edited(tree: &Path, edit: &Edit) -> Result<String, String> {
    let text = fs::read_to_string(tree.join(edit.file)).map_err(|error| format!("{}: {error}", edit.file))?;
    match text.matches(edit.old).count() {
        1 => Ok(text.replacen(edit.old, edit.new, 1)),
        n => Err(format!("{} has {n} places like {:?}, where one is expected", edit.file, edit.old)),
    }
}

/// Builds the soak of the tree.
fn build(tree: &Path) -> Result<PathBuf, String> {
    let status = Command::new(tree.join("qemu/toolchain.sh"))
        .args(["host", "cargo", "build", "-q", "-p", "tests", "--bin", "soak", "--profile", "soak"])
        .current_dir(tree)
        .stdin(Stdio::null())
        .status();
    match status {
        Ok(status) if status.success() => Ok(tree.join("target/soak/soak")),
        Ok(status) => Err(format!("the tree with the bug does not build: {status}")),
        Err(error) => Err(format!("qemu/toolchain.sh: {error}")),
    }
}

/// What a soak found.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Finding {
    seed: u64,
    sentence: String,
}

/// Runs the soak on one scenario, with one more variable; its first finding.
fn run(soak: &Path, scenario: &str, variable: &str, value: u64) -> Result<Option<Finding>, String> {
    let output = Command::new(soak)
        .env_remove("MMU_SEED")
        .env("ONLY", scenario)
        .env(variable, value.to_string())
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .map_err(|error| format!("{}: {error}", soak.display()))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let finding = text.lines().find_map(parse);
    match (output.status.code(), finding) {
        (Some(0), None) => Ok(None),
        (Some(1), Some(finding)) => Ok(Some(finding)),
        (status, _) => Err(format!("the soak ended with {status:?} and said:\n{text}")),
    }
}

/// `soak: finding: scenario NAME, seed N: SENTENCE`.
fn parse(line: &str) -> Option<Finding> {
    let (_, rest) = line.strip_prefix("soak: finding: ")?.split_once(", seed ")?;
    let (seed, sentence) = rest.split_once(": ")?;
    Some(Finding { seed: seed.parse().ok()?, sentence: sentence.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is to be planted still has its places in the code.
    #[test]
    fn edits_fit() {
        for edit in ALL.iter().flat_map(|planted| planted.edits) {
            edited(qemu::root(), edit).unwrap();
        }
    }
}
