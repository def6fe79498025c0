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

/// Percentages of sentences that are no figures of ours: what others have measured. Those that the pages do not have
/// any more are errors of this list.
const OF_OTHERS: [(&str, &[&str]); 1] = [
    // Upstream, of a collapse that counts each page.
    ("docs/hgm.md", &["30 %"]),
];

/// A number of a sentence that has a comma between its digits, as 22,932, and a percentage, as 14 %, stands in a table of
/// the page too.
#[test]
fn sentences_quote_the_tables() {
    for name in PAGES {
        let of_others =
            OF_OTHERS.into_iter().find(|(page, _)| *page == name).map_or(&[][..], |(_, list)| list);
        quotes_its_tables(name, of_others);
    }
}

fn quotes_its_tables(name: &str, of_others: &[&str]) {
    let (made, _) = page(name).unwrap();
    let (tables, sentences) = parts(&made);
    let known: Vec<String> = tables.iter().flat_map(|line| quoted(line)).collect();
    assert!(!known.is_empty(), "{name} has no table of figures");
    let mut others = Vec::new();
    for line in sentences {
        for number in quoted(line) {
            if of_others.contains(&number.as_str()) {
                others.push(number);
            } else {
                assert!(known.contains(&number), "{name}: {number} is in no table: {line}");
            }
        }
    }
    for other in of_others {
        assert!(others.iter().any(|number| number == other), "{name} does not say {other}");
    }
}

/// The lines of a page that were made from figures, which alone vouch for a sentence, and the others: a table that was typed
/// is a sentence too. What stands in fences is neither.
fn parts(page: &str) -> (Vec<&str>, Vec<&str>) {
    let (mut within, mut fenced) = (false, false);
    let lines = page.lines().filter(|line| {
        let fence = line.starts_with("```");
        fenced ^= fence;
        !fenced && !fence
    });
    lines.partition(|line| {
        within = (within || line.starts_with("<!-- figures: ")) && !line.starts_with("<!-- end of figures");
        within
    })
}

/// Numbers with a comma between their digits, and percentages, `per cent` as `%`.
fn quoted(line: &str) -> Vec<String> {
    let line = line.replace(" per cent", " %");
    let (mut found, mut rest) = (Vec::new(), line.as_str());
    while let Some(at) = rest.find(|c: char| c.is_ascii_digit()) {
        rest = &rest[at..];
        let end = rest.find(|c: char| !(c.is_ascii_digit() || c == ',' || c == '.')).unwrap_or(rest.len());
        let (word, after) = rest.split_at(end);
        let number = word.trim_end_matches([',', '.']);
        if number == word && after.starts_with(" %") {
            found.push(format!("{number} %"));
        } else if number.contains(',') {
            found.push(number.to_owned());
        }
        rest = after;
    }
    found
}

/// What of a line is looked up, and what of a page is a table.
#[test]
fn what_is_quoted() {
    let of = |line: &str| quoted(line).join("; ");
    assert_eq!(of("needs 22,932, not 7; 14 % more, -8.2 % of it, 30 per cent."), "22,932; 14 %; 8.2 %; 30 %");
    assert_eq!(of("rows 3 to 5 – A.5, D8.16. per cent of 2^18 × 4,096"), "4,096");
    let page = "a\n```text\n1,000\n```\n<!-- figures: x -->\n| 2,000 |\n<!-- end of figures -->\n3,000\n";
    assert_eq!(
        parts(page),
        (vec!["<!-- figures: x -->", "| 2,000 |"], vec!["a", "<!-- end of figures -->", "3,000"])
    );
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
