//! Hands the linker script to the linker, by absolute path, as cargo may be started anywhere; and makes a table of the
//! files of `experiments/`, which `src/experiment/description.rs` takes in.

use serde::Deserialize;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

/// What the kernel needs of a file of `experiments/`; `qemu/src/bench/experiment.rs` reads the rest.
#[derive(Deserialize)]
struct Experiment {
    asks: String,
    workload: String,
    compares: String,
    prints: String,
    seed: String,
    #[serde(default)]
    keys: BTreeMap<String, Key>,
    #[serde(default)]
    bench: Bench,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Key {
    Words { says: String, values: Vec<String> },
    Number { says: String, least: u64, most: u64, default: u64 },
}

#[derive(Default, Deserialize)]
struct Bench {
    #[serde(default)]
    choices: String,
    rows_of: Option<String>,
    layout: Option<String>,
}

fn main() {
    let manifest = std::env::var("CARGO_MANIFEST_DIR").expect("cargo sets CARGO_MANIFEST_DIR");
    let script = format!("{manifest}/../linker.ld");
    println!("cargo::rerun-if-changed={script}");
    println!("cargo::rustc-link-arg-bins=-T{script}");

    let folder = format!("{manifest}/../experiments");
    println!("cargo::rerun-if-changed={folder}");
    let out = std::env::var("OUT_DIR").expect("cargo sets OUT_DIR");
    std::fs::write(Path::new(&out).join("experiments.rs"), table(Path::new(&folder)))
        .expect("OUT_DIR can be written");
}

/// The constant `EXPERIMENTS`, in the order of the names.
fn table(folder: &Path) -> String {
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .expect("experiments/ is there")
        .map(|entry| entry.expect("experiments/ can be listed").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "toml"))
        .collect();
    files.sort();
    let mut text = String::from("pub const EXPERIMENTS: &[Description] = &[\n");
    for path in files {
        let name = path.file_stem().and_then(|stem| stem.to_str()).expect("names are ASCII");
        let source = std::fs::read_to_string(&path).expect("an experiment can be read");
        let experiment: Experiment =
            toml::from_str(&source).unwrap_or_else(|error| panic!("experiments/{name}.toml: {error}"));
        write_one(&mut text, name, &experiment);
    }
    text + "];\n"
}

fn write_one(text: &mut String, name: &str, experiment: &Experiment) {
    let Experiment { asks, workload, compares, prints, seed, keys, bench } = experiment;
    let choices = &bench.choices;
    let of_boots = bench.rows_of.is_some();
    let layout = match bench.layout.as_deref() {
        None => "List",
        Some("tables") => "Tables",
        Some("series") => "Series",
        Some(other) => panic!("experiments/{name}.toml: there is no layout `{other}`"),
    };
    // Writing to a string cannot fail.
    let _ = writeln!(
        text,
        "Description {{ name: {name:?}, asks: {asks:?}, workload: {workload:?}, compares: {compares:?}, \
         prints: {prints:?}, seed: {seed:?}, choices: {choices:?}, of_boots: {of_boots}, layout: Layout::{layout}, keys: &["
    );
    for (name, key) in keys {
        let (says, values) = match key {
            Key::Words { says, values } => (says, format!("Values::Words(&{values:?})")),
            Key::Number { says, least, most, default } => {
                (says, format!("Values::Number {{ least: {least}, most: {most}, default: {default} }}"))
            }
        };
        let _ = writeln!(text, "Key {{ name: {name:?}, says: {says:?}, values: {values} }},");
    }
    text.push_str("] },\n");
}
