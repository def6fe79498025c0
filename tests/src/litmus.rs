//! How litmus tests are run and listed.
//!
//! A *bad* one does one forbidden thing and must be stopped by exactly the sentence that it names. A *good* one does
//! its legal twin and must pass. Both run under a number of seeds, as the machine may choose otherwise each time;
//! `MMU_SEED=…` runs one of them.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use arch::model::{MachineDesc, seeds};

/// Seeds under which what is forbidden must be found, each time.
pub const BAD_SEEDS: u64 = 8;
/// Seeds under which what is allowed must pass.
pub const GOOD_SEEDS: u64 = 32;

/// What a test does on the machine that it is given.
pub type Run = fn(MachineDesc);

fn machine(seed: u64) -> MachineDesc {
    MachineDesc { seed, ..MachineDesc::DEFAULT }
}

/// What a run panics with, if it does.
fn verdict(run: Run, seed: u64) -> Option<String> {
    let payload = catch_unwind(AssertUnwindSafe(|| run(machine(seed)))).err()?;
    let text = payload.downcast_ref::<String>().cloned();
    let text = text.or_else(|| payload.downcast_ref::<&str>().map(|&text| text.to_owned()));
    Some(text.unwrap_or_else(|| "a panic without words".to_owned()))
}

/// The run is stopped by this sentence, under every seed.
pub fn refused(sentence: &str, run: Run) {
    for seed in seeds(BAD_SEEDS) {
        match verdict(run, seed) {
            Some(said) => assert_eq!(said, sentence, "seed {seed}"),
            None => panic!("seed {seed} lets it pass: {sentence}"),
        }
    }
}

/// The run is stopped by this sentence under one of `most` seeds, and by no other.
pub fn refused_within(most: u64, sentence: &str, run: Run) {
    let said = seeds(most).find_map(|seed| verdict(run, seed));
    assert_eq!(said.as_deref(), Some(sentence), "within {most} seeds");
}

/// The run passes, under every seed.
pub fn allowed(run: Run) {
    for seed in seeds(GOOD_SEEDS) {
        if let Some(said) = verdict(run, seed) {
            panic!("seed {seed}: what is allowed was refused: {said}");
        }
    }
}

/// The folder of litmus tests `name` has the `listed` files and no others; each can be read at one glance and
/// opens with prose and a drawing.
pub fn check_folder(name: &str, listed: &[&str]) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
    let entries = std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut found: Vec<String> = entries
        .filter_map(|entry| Some(entry.ok()?.path().file_stem()?.to_str()?.to_owned()))
        .filter(|stem| stem != "main")
        .collect();
    found.sort();
    let mut expected: Vec<String> = listed.iter().map(|&name| name.to_owned()).collect();
    expected.sort();
    assert_eq!(found, expected, "the files of tests/{name}, and those that its main.rs lists");
    for stem in found {
        let path = folder.join(&stem).with_extension("rs");
        let text =
            std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let lines = text.lines().count();
        assert!((20..=50).contains(&lines), "tests/{name}/{stem}.rs has {lines} lines, 20..=50 are wanted");
        assert!(text.starts_with("//! "), "tests/{name}/{stem}.rs does not say what it is");
        assert!(text.contains("//! ```text\n"), "tests/{name}/{stem}.rs has no drawing of its sequence");
    }
}
