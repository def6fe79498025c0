//! The tables of `docs/mapcount.md`.

use super::hgm::SCHEMES;
use super::{Column, Form, Table};

pub(super) const TABLES: &[Table] = &[
    Table {
        name: "truth",
        corner: "`mapcount=`",
        experiment: "mapcount",
        lines: SCHEMES,
        columns: &[
            Column("mapped at all", &["@.mapped.exact"], Form::PerCent),
            Column("leaf entries", &["@.entries.exact"], Form::PerCent),
            Column("of one page", &["@.page_entries.exact"], Form::PerCent),
            Column("pages mapped", &["@.pages_mapped.exact"], Form::PerCent),
            Column("shared", &["@.shared.exact"], Form::PerCent),
            Column("share of a page (PSS)", &["@.average.exact"], Form::PerCent),
            Column("of that too low", &["@.average.under"], Form::PerCent),
        ],
    },
    Table {
        name: "counting-costs",
        corner: "`mapcount=`",
        experiment: "mapcount",
        lines: SCHEMES,
        columns: &[
            Column("map 2 MiB by a block", &["@.map_2m_block"], Form::Number),
            Column("by 512 pages at once", &["@.map_2m_pages_batch"], Form::Number),
            Column("one by one", &["@.map_2m_pages_singly"], Form::Number),
            Column("2 MiB pages to a block", &["@.collapse_2m"], Form::Number),
            Column("1 GiB of pages to a block", &["@.collapse_1g_in_one_step"], Form::Number),
            Column(
                "by way of 2 MiB",
                &["@.collapse_1g_step_1_of_2", "@.collapse_1g_step_2_of_2"],
                Form::Number,
            ),
            Column("smaps of 512 pages", &["@.smaps_2m_pages_private"], Form::Number),
            Column("migration test", &["@.migration_test_pages"], Form::Number),
        ],
    },
    Table {
        name: "curve-fork",
        corner: "fork, pages mapped",
        experiment: "curves",
        lines: SCHEMES,
        columns: &[
            Column("1", &["@.fork.1"], Form::Number),
            Column("8", &["@.fork.8"], Form::Number),
            Column("64", &["@.fork.64"], Form::Number),
            Column("512", &["@.fork.512"], Form::Number),
        ],
    },
    Table {
        name: "curve-munmap",
        corner: "munmap, pages mapped",
        experiment: "curves",
        lines: SCHEMES,
        columns: &[
            Column("1", &["@.munmap.1"], Form::Number),
            Column("8", &["@.munmap.8"], Form::Number),
            Column("64", &["@.munmap.64"], Form::Number),
            Column("512", &["@.munmap.512"], Form::Number),
        ],
    },
    Table {
        name: "curve-collapse",
        corner: "collapse by copy, pages mapped",
        experiment: "curves",
        lines: SCHEMES,
        columns: &[
            Column("1", &["@.collapse.1"], Form::Cost),
            Column("8", &["@.collapse.8"], Form::Cost),
            Column("64", &["@.collapse.64"], Form::Cost),
            Column("512", &["@.collapse.512"], Form::Cost),
        ],
    },
];
