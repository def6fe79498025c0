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

/// Every scheme has its rows in the README, and every combination that is refused its sentence.
#[test]
fn the_readme_has_every_scheme_and_refusal() {
    for scheme in Mapcount::ALL {
        let rows = README.lines().filter(|line| line.starts_with(&format!("| `{scheme}` |"))).count();
        assert!(rows >= 2, "{scheme}: {rows} rows in the README");
    }
    let not_built = Refusal::NotBuilt { built: Mapcount::MmOwner, asked: Mapcount::RfcV2 };
    for refusal in [Refusal::TailsWritten, not_built] {
        let sentence = refusal.to_string();
        assert!(README.contains(&format!("| {sentence} |")), "the README lacks: {sentence}");
    }
}
