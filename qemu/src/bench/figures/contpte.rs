//! The table of `docs/contpte.md`.

use super::{Column, Form, Table};

pub(super) const TABLES: &[Table] = &[Table {
    name: "groups",
    corner: "mprotect to read-only",
    experiment: "kernel",
    lines: &[
        ("mprotect_64k_folded", "all 64 KiB of a folded group"),
        ("mprotect_64k_plain", "all 64 KiB of 16 plain entries, which fold again"),
        ("mprotect_4k_folded", "4 KiB of a folded group, which unfolds"),
        ("mprotect_4k_plain", "4 KiB, a plain entry"),
    ],
    columns: &[
        Column("instructions", &["@"], Form::Number),
        Column("stores", &["@.stores"], Form::Number),
        Column("TLBIs", &["@.tlbi"], Form::Number),
    ],
}];
