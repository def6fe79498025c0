//! The table itself, and the README that shows it.

use super::super::*;

/// Each row stands at its own place, and no two say the same.
#[test]
fn rows_stand_in_order() {
    for (index, text) in ROWS.iter().enumerate() {
        assert_eq!(text.row as usize, index);
        assert_eq!((text.row.number(), text.row.need()), (index + 1, text.need));
        assert!(ROWS[..index].iter().all(|other| other.change != text.change), "{}", text.change);
    }
}

/// arch/README.md shows these rows, with these needs and sources, and no others.
#[test]
fn the_readme_shows_the_table() {
    let readme = include_str!("../../../README.md");
    let of_table = readme.lines().skip_while(|line| !line.starts_with("| row |")).skip(2);
    let shown: Vec<&str> = of_table.take_while(|line| line.starts_with('|')).collect();
    let rows: Vec<String> = ROWS
        .iter()
        .map(|text| {
            let need = match text.need {
                BbmNeed::None => "none",
                BbmNeed::FlushAfter => "flush",
                BbmNeed::BreakBeforeMake { why } => match why {
                    Why::MemoryType => "break: memory type",
                    Why::OutputAddressWritable => "break: output address, written",
                    Why::OutputAddressContents => "break: output address, contents",
                    Why::Size => "break: size",
                    Why::Global => "break: global",
                },
            };
            format!("| {} | {} | {need} | {} |", text.row.number(), text.change, text.source)
        })
        .collect();
    assert_eq!(shown, rows, "the table should be:\n{}", rows.join("\n"));
}

/// Every row has a test of its own in `bbm/tests.rs`, by number.
#[test]
fn every_row_has_its_test() {
    let tests = include_str!("../tests.rs");
    let names: Vec<&str> = tests.lines().filter(|line| line.starts_with("fn row")).collect();
    for text in &ROWS {
        let number = format!("_{:02}_", text.row.number());
        assert!(names.iter().any(|name| name.contains(&number)), "row {}", text.row.number());
    }
}
