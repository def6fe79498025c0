//! The tables in the documentation say what the code says.

use crate::config::Mapcount;
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
