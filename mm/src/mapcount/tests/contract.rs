//! The tables in the documentation say what the code says.

use crate::config::{Mapcount, Refusal};
use crate::mapcount::Question;

/// The row of a scheme in the table of the room.
#[test]
fn the_table_of_the_room_is_the_contract() {
    let text = include_str!("../mod.rs");
    let heading = Question::ALL.map(Question::name).join(" | ");
    assert!(text.contains(&format!("| {heading} |")), "{heading}");
    for scheme in Mapcount::ALL {
        let row = text.lines().find(|line| line.starts_with(&format!("//! | [`{scheme}`]"))).unwrap();
        let claims = scheme.contract().map(|claim| claim.word()).join(" | ");
        assert!(row.ends_with(&format!("| {claims} |")), "{scheme}: {claims}, but the table has {row}");
    }
}

const README: &str = include_str!("../../../../README.md");
const CHAPTER: &str = include_str!("../../../../docs/mapcount.md");

/// Every scheme has its rows in its chapter, what it counts and what came of it, and every combination that is refused
/// its sentence in the README.
#[test]
fn the_pages_have_every_scheme_and_refusal() {
    for scheme in Mapcount::ALL {
        let rows = CHAPTER.lines().filter(|line| line.starts_with(&format!("| `{scheme}` |"))).count();
        assert!(rows >= 3, "{scheme}: {rows} rows in the chapter");
    }
    let not_built = Refusal::NotBuilt { built: Mapcount::MmOwner, asked: Mapcount::RfcV2 };
    for refusal in [Refusal::TailsWritten, not_built] {
        let sentence = refusal.to_string();
        assert!(README.contains(&format!("| {sentence} |")), "the README lacks: {sentence}");
    }
}
