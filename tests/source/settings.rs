//! What can be set and counted of huge pages: `mm/README.md` has a row for each file, with its range and default, and
//! for each counter, and none for what is not there.

use std::collections::BTreeSet;

use mm::config::{MmConfig, Number, ThpMode};
use mm::stats::Counter;

use crate::tree::files;

const FOLDER: &str = "/sys/kernel/mm/transparent_hugepage/";

fn text(path: &str) -> String {
    files().into_iter().find(|file| file.path == path).unwrap_or_else(|| panic!("no file {path}")).text
}

/// The rows of the table of `mm/README.md` whose head begins with this cell: their cells.
fn table(first_cell: &str) -> Vec<Vec<String>> {
    let text = text("mm/README.md");
    let head = format!("| {first_cell} |");
    let rows = text.lines().skip_while(|line| !line.starts_with(&head)).skip(2);
    rows.take_while(|line| line.starts_with('|')).map(cells).collect()
}

fn cells(row: &str) -> Vec<String> {
    row.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect()
}

fn names(rows: &[Vec<String>]) -> BTreeSet<String> {
    let names: BTreeSet<_> = rows.iter().map(|row| row[0].trim_matches('`').to_owned()).collect();
    assert_eq!(names.len(), rows.len(), "a name stands in the table twice");
    names
}

/// The files that `kernel/src/files/thp.rs` lists by their paths, and those that are made from the list of numbers.
fn registered() -> BTreeSet<String> {
    let source = text("kernel/src/files/thp.rs");
    let literal = |line: &str| Some(line.trim().strip_prefix("path: \"")?.strip_suffix("\",")?.to_owned());
    let mut paths: BTreeSet<String> = source.lines().filter_map(literal).collect();
    assert!(paths.len() >= 4, "the files are found by `path: \"…\",`");
    paths.extend(Number::ALL.iter().map(|number| number.path().to_owned()));
    let inside = |path: String| path.strip_prefix(FOLDER).unwrap_or_else(|| panic!("{path}")).to_owned();
    paths.into_iter().map(inside).collect()
}

/// Every file is in the table, and every row is a file.
#[test]
fn every_file_has_its_row() {
    assert_eq!(names(&table("file | range")), registered());
}

/// Each row of a number says its range and its default, and that of `enabled` its words; all say what they mean and
/// whence they are.
#[test]
fn rows_say_range_and_default() {
    let rows = table("file | range");
    let row = |path: &str| {
        let name = format!("`{}`", path.strip_prefix(FOLDER).unwrap());
        rows.iter().find(|row| row[0] == name).unwrap_or_else(|| panic!("no row {name}"))
    };
    for &number in Number::ALL {
        let (low, high) = (*number.range().start(), *number.range().end());
        let expected = [format!("{low} to {high}"), number.default_value().to_string()];
        assert_eq!(row(number.path())[1..3], expected, "{}", number.path());
    }
    let words: Vec<_> = ThpMode::WORDS.iter().map(|word| format!("`{word}`")).collect();
    let enabled = row("/sys/kernel/mm/transparent_hugepage/enabled");
    assert_eq!(enabled[1..3], [words.join(" "), format!("`{}`", MmConfig::default().thp)]);
    assert!(rows.iter().all(|row| row.len() == 5 && row.iter().all(|cell| !cell.is_empty())));
}

/// Every counter of huge pages is in the table, and every row is a counter.
#[test]
fn every_counter_has_its_row() {
    let of_huge_pages = |name: &&str| {
        name.contains("thp_") || name.starts_with("res_") || *name == "nr_anon_transparent_hugepages"
    };
    let counters: BTreeSet<_> =
        Counter::ALL.iter().map(|counter| counter.name()).filter(of_huge_pages).map(str::to_owned).collect();
    assert_eq!(names(&table("counter of `/proc/vmstat`")), counters);
}

/// The table of boot choices in `README.md` has the word of every number.
#[test]
fn every_number_is_a_boot_choice() {
    let text = text("README.md");
    let choices = text.split("## Boot choices").nth(1).expect("README.md has the boot choices");
    for number in Number::ALL {
        assert!(choices.contains(&format!("`{}=`", number.word())), "`{}=`", number.word());
    }
}
