//! The figures of `docs/reservations.md` are those of `tests/figures`: no table is typed by hand, and no sentence has a
//! figure that is in none of them.

use qemu::bench::figures::{PAGE, page};

/// `make figures` would change nothing.
#[test]
fn the_tables_are_those_of_the_figures() {
    let (made, text) = page().unwrap();
    for (made, found) in made.lines().zip(text.lines()) {
        assert_eq!(found, made, "`make figures` writes the tables of {PAGE} anew");
    }
    assert_eq!(made.lines().count(), text.lines().count(), "{PAGE}");
}

/// A number of a sentence that has a comma between its digits, as 22,932, stands in a table too.
#[test]
fn sentences_quote_the_tables() {
    let (made, _) = page().unwrap();
    let (tables, sentences): (Vec<&str>, Vec<&str>) = made.lines().partition(|line| line.starts_with('|'));
    let numbers = |line: &str| -> Vec<String> {
        let words = line.split(|c: char| !c.is_ascii_digit() && c != ',');
        let words = words.map(|word| word.trim_matches(','));
        words.filter(|word| word.contains(',')).map(str::to_owned).collect()
    };
    let known: Vec<String> = tables.iter().flat_map(|line| numbers(line)).collect();
    assert!(known.len() > 100, "{} figures of thousands in the tables of {PAGE}", known.len());
    for line in sentences {
        for number in numbers(line) {
            assert!(known.contains(&number), "{PAGE}: {number} is in no table: {line}");
        }
    }
}
