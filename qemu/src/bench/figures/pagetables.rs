//! The tables of `docs/pagetables.md`.

use super::{Column, Form, Table};

pub(super) const TABLES: &[Table] = &[
    Table {
        name: "tlbi-forms",
        corner: "entries of vmemmap that change",
        experiment: "hvo",
        lines: &[
            ("alias-mask-bbm2-pmd-4", "without a break (`hvo=alias`), TLBI by range"),
            ("pause-mask-bbm2-pmd-4", "by break-before-make (`hvo=pause`), TLBI by range"),
            ("alias-mask-bbm0-pmd-4", "without a break, cortex-a72: TLBI by address"),
            ("pause-mask-bbm0-pmd-4", "by break-before-make, cortex-a72"),
        ],
        columns: &[
            Column("7 entries: stores", &["@.optimise_1.stores"], Form::Number),
            Column("breaks", &["@.optimise_1.breaks"], Form::Number),
            Column("TLBIs", &["@.optimise_1.tlbi"], Form::Number),
            Column("rounds", &["@.optimise_1.dsb"], Form::Number),
            Column("28,672 entries: stores", &["@.optimise_4096.stores"], Form::Number),
            Column("breaks", &["@.optimise_4096.breaks"], Form::Number),
            Column("TLBIs", &["@.optimise_4096.tlbi"], Form::Number),
            Column("rounds", &["@.optimise_4096.dsb"], Form::Number),
        ],
    },
    Table {
        name: "exchanges",
        corner: "1 GiB of a hugetlb page, `mapcount=mm-owner`",
        experiment: "collapse",
        lines: &[
            ("mm-owner.continue_1g_by_4k", "262,144 entries are made, from invalid (UFFDIO_CONTINUE)"),
            ("mm-owner.collapse_1g_in_one_step", "512 tables of them become one block"),
            ("mm-owner.collapse_1g_step_1_of_2", "each table becomes a block of 2 MiB, 512 calls"),
            ("mm-owner.collapse_1g_step_2_of_2", "these become one of 1 GiB"),
        ],
        columns: &[
            Column("instructions", &["@"], Form::Number),
            Column("stores", &["@.stores"], Form::Number),
            Column("breaks", &["@.breaks"], Form::Number),
            Column("TLBIs by address", &["@.tlbi_va"], Form::Number),
            Column("of the ASID", &["@.tlbi_asid"], Form::Number),
            Column("rounds", &["@.dsb"], Form::Number),
        ],
    },
    Table {
        name: "calls",
        corner: "a call on 64 MiB",
        experiment: "mmbench",
        lines: &[
            ("mprotect_ro_4k_64m", "mprotect to read-only, 16,384 pages"),
            ("mprotect_rw_4k_64m", "and back"),
            ("mprotect_ro_thp_64m", "mprotect to read-only, 32 blocks"),
            ("mprotect_rw_thp_64m", "and back"),
            ("mremap_move_4k_64m", "mremap to another place, pages"),
            ("mremap_unaligned_4k_64m", "the same, 4 KiB off: no table can move whole"),
            ("munmap_4k_64m", "munmap, pages"),
            ("munmap_thp_64m", "munmap, blocks"),
            ("fork_call_4k_64m", "fork, pages"),
            ("fork_call_thp_64m", "fork, blocks"),
        ],
        columns: &[
            Column("instructions", &["@"], Form::Number),
            Column("Linux 7.2", &["linux @"], Form::Number),
            Column("of these", &["@", "linux @"], Form::Share),
        ],
    },
];
