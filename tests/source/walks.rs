//! The two walks: each stop that `mm/README.md` lists is tagged in the code, once, and no other is.

use crate::tree::{files, rust_files};
use std::collections::{BTreeMap, BTreeSet};

/// The stops in the tables of `mm/README.md`: the first column of a row, `A.1` or `Walk A.1`.
fn listed() -> BTreeSet<String> {
    let readme =
        files().into_iter().find(|file| file.path == "mm/README.md").expect("mm/README.md lists the walks");
    let first_column = |line: &str| line.trim().strip_prefix('|')?.split('|').next().map(str::to_owned);
    let cells = readme.text.lines().filter_map(first_column);
    cells.filter_map(|cell| stop(cell.trim().trim_matches(['`', '*']).trim_start_matches("Walk "))).collect()
}

/// The stop's name, if `text` begins with one: a letter A or B, a point, a number.
fn stop(text: &str) -> Option<String> {
    let walk = text.strip_prefix("A.").or_else(|| text.strip_prefix("B."))?;
    let digits: String = walk.chars().take_while(char::is_ascii_digit).collect();
    (!digits.is_empty()).then(|| format!("{}{digits}", &text[..2]))
}

/// Where each tag `// Walk A.n` stands in the code.
fn tagged() -> BTreeMap<String, Vec<String>> {
    let mut tags = BTreeMap::<String, Vec<String>>::new();
    for file in rust_files().iter().filter(|file| !file.path.starts_with("tests/")) {
        for (number, line) in file.text.lines().enumerate() {
            let Some(stop) = line.trim().strip_prefix("// Walk ").and_then(stop) else { continue };
            tags.entry(stop).or_default().push(format!("{}:{}", file.path, number + 1));
        }
    }
    tags
}

/// The table of contents and the code name the same stops, each exactly once, numbered without a gap.
#[test]
fn every_stop_is_tagged_once() {
    let (listed, tagged) = (listed(), tagged());
    let mut faults = Vec::new();
    for stop in &listed {
        match tagged.get(stop).map(Vec::as_slice) {
            None => {
                faults.push(format!("{stop} is in mm/README.md, but `// Walk {stop}` is nowhere in the code"))
            }
            Some([_]) => {}
            Some(places) => faults.push(format!("{stop} is tagged more than once: {}", places.join(", "))),
        }
    }
    for (stop, places) in &tagged {
        if !listed.contains(stop) {
            faults.push(format!(
                "{stop} is tagged at {}, but mm/README.md does not list it",
                places.join(", ")
            ));
        }
    }
    for walk in ["A", "B"] {
        let count = listed.iter().filter(|stop| stop.starts_with(walk)).count();
        if count == 0 {
            faults.push(format!("mm/README.md lists no stop of walk {walk}"));
        }
        for number in 1..=count {
            if !listed.contains(&format!("{walk}.{number}")) {
                faults.push(format!("{walk}.{number} is missing between its neighbours in mm/README.md"));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// What is a stop's name and what is not.
#[test]
fn names_of_stops() {
    assert_eq!(stop("A.12: decode"), Some("A.12".to_owned()));
    assert_eq!(stop("B.3"), Some("B.3".to_owned()));
    assert_eq!([stop("C.1"), stop("A."), stop("A1"), stop("")], [None, None, None, None]);
}
