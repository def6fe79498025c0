//! The tables of `docs/hgm.md`.

use super::{Column, Form, Table};

/// The ways of counting.
pub(super) const SCHEMES: &[(&str, &str)] = &[
    ("rfc-v1", "`rfc-v1`"),
    ("rfc-v1+counted", "`rfc-v1+counted`"),
    ("rfc-v2", "`rfc-v2`"),
    ("thp-like", "`thp-like`"),
    ("rfc-v2+vmacount", "`rfc-v2+vmacount`"),
    ("vma-pt", "`vma-pt`"),
    ("mm-owner", "`mm-owner`"),
    ("total-mapped", "`total-mapped`"),
];

/// What the program `postcopy` prints of one size.
macro_rules! postcopy {
    ($name:literal, $corner:literal) => {
        Table {
            name: $name,
            corner: $corner,
            experiment: "hgm",
            lines: &[("whole", "by whole pages"), ("split", "by 4 KiB"), ("ratio", "how many times")],
            columns: &[
                Column("median fetch", &[concat!("@.", $name, ".median")], Form::Number),
                Column("worst fetch", &[concat!("@.", $name, ".worst")], Form::Number),
                Column("bytes that came first", &[concat!("@.", $name, ".bytes")], Form::Number),
                Column("reads that waited", &[concat!("@.", $name, ".fetches")], Form::Number),
                Column("all of them", &[concat!("@.", $name, ".waited")], Form::Number),
            ],
        }
    };
}

/// Every table of the page.
pub(super) const TABLES: &[Table] = &[
    Table {
        name: "one-step",
        corner: "1 GiB by 4 KiB becomes one block",
        experiment: "collapse",
        lines: SCHEMES,
        columns: &[
            Column("instructions", &["@.collapse_1g_in_one_step"], Form::Number),
            Column("for each entry", &["@.collapse_1g_in_one_step"], Form::OfEntries),
            Column(
                "object and page tables held",
                &["@.collapse_1g_in_one_step.held_object_and_tables"],
                Form::Number,
            ),
            Column("mmap lock held", &["@.collapse_1g_in_one_step.held_mmap_lock"], Form::Number),
            Column("breaks", &["@.collapse_1g_in_one_step.breaks"], Form::Number),
            Column(
                "TLBIs",
                &["@.collapse_1g_in_one_step.tlbi_va", "@.collapse_1g_in_one_step.tlbi_asid"],
                Form::Number,
            ),
            Column("tables freed", &["@.collapse_1g_in_one_step.tables"], Form::Number),
        ],
    },
    Table {
        name: "two-steps",
        corner: "by way of 512 blocks of 2 MiB, a call each",
        experiment: "collapse",
        lines: SCHEMES,
        columns: &[
            Column("to 2 MiB", &["@.collapse_1g_step_1_of_2"], Form::Number),
            Column("to 1 GiB", &["@.collapse_1g_step_2_of_2"], Form::Number),
            Column(
                "both, for each entry",
                &["@.collapse_1g_step_1_of_2", "@.collapse_1g_step_2_of_2"],
                Form::OfEntries,
            ),
            Column(
                "object and page tables held",
                &["@.collapse_1g_step_1_of_2.held_object_and_tables"],
                Form::Number,
            ),
            Column("mmap lock held", &["@.collapse_1g_step_1_of_2.held_mmap_lock"], Form::Number),
            Column(
                "TLBIs",
                &[
                    "@.collapse_1g_step_1_of_2.tlbi_va",
                    "@.collapse_1g_step_1_of_2.tlbi_asid",
                    "@.collapse_1g_step_2_of_2.tlbi_va",
                    "@.collapse_1g_step_2_of_2.tlbi_asid",
                ],
                Form::Number,
            ),
        ],
    },
    Table {
        name: "counting",
        corner: "counting alone",
        experiment: "mapcount",
        lines: SCHEMES,
        columns: &[
            Column("one step", &["@.collapse_1g_in_one_step"], Form::Number),
            Column("atomic operations", &["@.collapse_1g_in_one_step.atomics"], Form::Number),
            Column("struct pages written", &["@.collapse_1g_in_one_step.lines"], Form::Number),
            Column("two steps", &["@.collapse_1g_step_1_of_2", "@.collapse_1g_step_2_of_2"], Form::Number),
            Column(
                "atomic operations",
                &["@.collapse_1g_step_1_of_2.atomics", "@.collapse_1g_step_2_of_2.atomics"],
                Form::Number,
            ),
            Column(
                "struct pages written",
                &["@.collapse_1g_step_1_of_2.lines", "@.collapse_1g_step_2_of_2.lines"],
                Form::Number,
            ),
        ],
    },
    Table {
        name: "consumers",
        corner: "one process maps 1 GiB by 4 KiB",
        experiment: "collapse",
        lines: SCHEMES,
        columns: &[
            Column("Private_Hugetlb, KiB", &["@.one_process_maps_1g_by_4k.private_hugetlb"], Form::Number),
            Column("Shared_Hugetlb, KiB", &["@.one_process_maps_1g_by_4k.shared_hugetlb"], Form::Number),
            Column(
                "moved without MPOL_MF_MOVE_ALL",
                &["@.one_process_maps_1g_by_4k.moved_without_move_all"],
                Form::Number,
            ),
            Column(
                "counts left by truncation",
                &["@.one_process_maps_1g_by_4k.counts_left_by_truncation"],
                Form::Number,
            ),
            Column("mapping it, for each entry", &["@.continue_1g_by_4k"], Form::OfEntries),
        ],
    },
    postcopy!("postcopy_1g", "512 reads of a page of 1 GiB"),
    postcopy!("postcopy_2m", "1024 reads of 128 pages of 2 MiB"),
    Table {
        name: "overflow",
        corner: "of 8192 mappings of 1 GiB by 4 KiB",
        experiment: "collapse",
        lines: SCHEMES,
        columns: &[
            Column(
                "its counts alone have room for",
                &["mapcount:@.fits_of_8192_mappings_of_1g_by_pages"],
                Form::Number,
            ),
            Column("fit", &["@.mappings_of_1g_by_4k_that_fit"], Form::Number),
            Column(
                "the next is refused with errno",
                &["@.mappings_of_1g_by_4k_that_fit.refused_with"],
                Form::Number,
            ),
        ],
    },
];
