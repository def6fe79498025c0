//! The table of `docs/reclaim.md`.

use super::reservations::POLICIES_OF_FORKS;
use super::{Column, Form, Table};

pub(super) const TABLES: &[Table] = &[Table {
    name: "given-back",
    corner: "until somebody is killed",
    experiment: "thpfork",
    lines: POLICIES_OF_FORKS,
    columns: &[
        Column("1 to 64 pages: children", &["@.-64"], Form::Number),
        Column("reserved", &["@.-64.reserved"], Form::Number),
        Column("promoted", &["@.-64.promoted"], Form::Number),
        Column("zeros given back", &["@.-64.given_back"], Form::Number),
        Column("1 to 512 pages: children", &["@.-512"], Form::Number),
        Column("reserved", &["@.-512.reserved"], Form::Number),
        Column("promoted", &["@.-512.promoted"], Form::Number),
        Column("zeros given back", &["@.-512.given_back"], Form::Number),
    ],
}];
