//! The figures of the pages in `docs` are those of `tests/figures`: no table is typed by hand, and no sentence has a
//! figure that is in none of them.

use qemu::bench::figures::{PAGES, page};

/// `make figures` would change nothing.
#[test]
fn the_tables_are_those_of_the_figures() {
    for name in PAGES {
        let (made, text) = page(name).unwrap();
        for (made, found) in made.lines().zip(text.lines()) {
            assert_eq!(found, made, "`make figures` writes the tables of {name} anew");
        }
        assert_eq!(made.lines().count(), text.lines().count(), "{name}");
    }
}

/// A number of a sentence that has a comma between its digits, as 22,932, stands in a table too.
#[test]
fn sentences_quote_the_tables() {
    PAGES.into_iter().for_each(quotes_its_tables);
}

fn quotes_its_tables(name: &str) {
    let (made, _) = page(name).unwrap();
    // Only what was made from figures vouches for a sentence; a table that was typed is a sentence too.
    let mut within = false;
    let (tables, sentences): (Vec<&str>, Vec<&str>) = made.lines().partition(|line| {
        within = (within || line.starts_with("<!-- figures: ")) && !line.starts_with("<!-- end of figures");
        within
    });
    let numbers = |line: &str| -> Vec<String> {
        let words = line.split(|c: char| !c.is_ascii_digit() && c != ',');
        let words = words.map(|word| word.trim_matches(','));
        words.filter(|word| word.contains(',')).map(str::to_owned).collect()
    };
    let known: Vec<String> = tables.iter().flat_map(|line| numbers(line)).collect();
    assert!(known.len() > 60, "{} figures of thousands in the tables of {name}", known.len());
    for line in sentences {
        for number in numbers(line) {
            assert!(known.contains(&number), "{name}: {number} is in no table: {line}");
        }
    }
}

/// A tracepoint that is off is two instructions, of as many rounds as the loop without it has.
#[test]
fn a_point_that_is_off_is_two_instructions() {
    let figures =
        qemu::bench::figures::baseline("kernel").unwrap().expect("figures of the kernel are committed");
    let rounds = 1000;
    let (without, with) = (figures["loop_1000"], figures["loop_1000_point_off"]);
    assert!(with - without <= 2 * rounds + rounds / 100, "{without} without, {with} with");
}
