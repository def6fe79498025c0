//! The tables of `docs/memory.md`.

use super::{Column, Form, Table};

pub(super) const TABLES: &[Table] = &[
    Table {
        name: "blocks",
        corner: "had, and given back at once",
        experiment: "kernel",
        lines: &[
            ("alloc_free_4k", "4 KiB, by way of the CPU's list"),
            ("alloc_free_2m", "2 MiB, from the free lists"),
        ],
        columns: &[Column("instructions", &["@"], Form::Number)],
    },
    Table {
        name: "in-a-fault",
        corner: "of a page fault",
        experiment: "faultparts",
        lines: &[
            ("fault_4k_write", "a page is written"),
            ("fault_4k_read_zeropage", "a page is read: the page of zeros"),
            ("fault_thp_2m_write", "2 MiB are written"),
            ("cow_4k_child_first_write", "a shared page is written"),
        ],
        columns: &[
            Column("allocator", &["@.allocator"], Form::Number),
            Column("zeroing, copying", &["@.zeroing"], Form::Number),
            Column("struct pages", &["@.struct_page"], Form::Number),
            Column("page tables", &["@.tables"], Form::Number),
            Column("dispatch", &["@.dispatch"], Form::Number),
            Column("entry and return", &["@.entry"], Form::Number),
            Column("the rest", &["@.policy", "@.statistics", "@.other"], Form::Number),
            Column("in all", &["@"], Form::Number),
        ],
    },
    Table {
        name: "had-by-faults",
        corner: "as a process sees it",
        experiment: "mmbench",
        lines: &[
            ("fault_4k_write", "a page, first write"),
            ("fault_2m_region_by_4k", "2 MiB, page by page"),
            ("fault_thp_2m_write", "2 MiB, one huge page"),
            ("fault_hugetlb_2m_write", "2 MiB of the hugetlb pool"),
            ("map_populate_64m_thp_off", "64 MiB by MAP_POPULATE, in pages"),
            ("munmap_4k_64m", "64 MiB in pages given back"),
            ("munmap_thp_64m", "64 MiB in huge pages given back"),
        ],
        columns: &[
            Column("instructions", &["@"], Form::Number),
            Column("Linux 7.2", &["linux @"], Form::Number),
            Column("of these", &["@", "linux @"], Form::Share),
        ],
    },
    Table {
        name: "one-piece",
        corner: "folios of 1 GiB for a pool, by moving what is in the way",
        experiment: "hvopools",
        lines: &[("alias-mask-bbm2-pmd-2.allocate", "all that 16 GiB have")],
        columns: &[
            Column("folios", &["@.pages"], Form::Number),
            Column("instructions in all", &["@.off"], Form::Number),
        ],
    },
];
