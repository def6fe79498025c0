//! The tables of `docs/reservations.md`.

use super::{Column, Form, Table};

/// The policies that differ where memory is not short.
const POLICIES: &[(&str, &str)] = &[
    ("never", "`never`"),
    ("always", "`always`"),
    ("defer", "`defer`"),
    ("reserve", "`reserve`"),
    ("reserve-sync", "`reserve-sync`"),
    ("reserve-64", "`reserve-64`"),
    ("full", "`full`"),
];

/// All of them: where memory is short each has something of its own to give back.
pub(super) const POLICIES_OF_FORKS: &[(&str, &str)] = &[
    ("always", "`always`"),
    ("underused", "`underused`"),
    ("defer", "`defer`"),
    ("reserve", "`reserve`"),
    ("reserve-lru", "`reserve-lru`"),
    ("reserve-sync", "`reserve-sync`"),
    ("reserve-64", "`reserve-64`"),
    ("full", "`full`"),
];

/// The tables of the ways in which memory is used have the same columns.
macro_rules! way {
    ($name:literal, $corner:literal) => {
        Table {
            name: $name,
            corner: $corner,
            experiment: "thp",
            lines: POLICIES,
            columns: &[
                Column("faults", &[concat!("@.", $name, ".faults")], Form::Number),
                Column("p50", &[concat!("@.", $name, ".p50")], Form::Number),
                Column("p99", &[concat!("@.", $name, ".p99")], Form::Number),
                Column("max", &[concat!("@.", $name, ".max")], Form::Number),
                Column("total", &[concat!("@.", $name, ".total")], Form::Number),
                Column("huge", &[concat!("@.", $name, ".huge")], Form::Number),
                Column("touched", &[concat!("@.", $name, ".touched")], Form::Number),
                Column("resident", &[concat!("@.", $name, ".rss")], Form::Number),
                Column("reserved", &[concat!("@.", $name, ".reserved")], Form::Number),
            ],
        }
    };
}

/// Of all that writes cost under `never`.
macro_rules! of_never {
    ($head:literal, $way:literal) => {
        Column($head, &[concat!("@.", $way, ".total"), concat!("never.", $way, ".total")], Form::Share)
    };
}

/// Every table of the page.
pub(super) const TABLES: &[Table] = &[
    Table {
        name: "roads",
        corner: "road",
        experiment: "thp",
        lines: &[
            ("promote_512", "promotion in place, 512 of 512 populated"),
            ("promote_256", "promotion in place, 256"),
            ("promote_64", "promotion in place, 64"),
            ("collapse_512", "collapse by copy, 512"),
        ],
        columns: &[
            Column("instructions", &["@"], Form::Number),
            Column("stores", &["@.stores"], Form::Number),
            Column("TLBIs", &["@.tlbi_va", "@.tlbi_asid"], Form::Number),
            Column("bytes zeroed", &["@.zeroed"], Form::Mib),
            Column("bytes copied", &["@.copied"], Form::Mib),
        ],
    },
    Table {
        name: "locks",
        corner: "road",
        experiment: "thp",
        lines: &[
            ("promote_512", "promotion in place, 512 of 512 populated"),
            ("promote_256", "promotion in place, 256"),
            ("promote_64", "promotion in place, 64"),
            ("collapse_512", "collapse by copy, 512"),
        ],
        columns: &[
            Column("page-table lock held", &["@.ptl_held"], Form::Number),
            Column("longest", &["@.ptl_longest"], Form::Number),
            Column("mmap lock held for reading", &["@.mmap_read_held"], Form::Number),
            Column("longest", &["@.mmap_read_longest"], Form::Number),
            Column("for writing", &["@.mmap_write_held"], Form::Number),
            Column("longest", &["@.mmap_write_longest"], Form::Number),
        ],
    },
    way!("sequential", "sequential: every page, from the first to the last"),
    way!("dense", "dense: every page, in random order within a region"),
    way!("random", "random: 1 to 512 pages of each region"),
    way!("sparse", "sparse: 8 pages of each region"),
    Table {
        name: "grow",
        corner: "grow: a heap that gives parts of its midst up",
        experiment: "thp",
        lines: POLICIES,
        columns: &[
            Column("faults", &["@.grow.faults"], Form::Number),
            Column("p50", &["@.grow.p50"], Form::Number),
            Column("total", &["@.grow.total"], Form::Number),
            Column("huge", &["@.grow.huge"], Form::Number),
            Column("resident", &["@.grow.rss"], Form::Number),
            Column("promoted on the way", &["@.grow.res_pages_collapsed"], Form::Number),
            Column("by copy", &["@.grow.thp_collapse_alloc"], Form::Number),
        ],
    },
    Table {
        name: "short",
        corner: "short: 16 processes that write 2 MiB each and end",
        experiment: "thp",
        lines: POLICIES,
        columns: &[
            Column("instructions in all", &["@.short.total"], Form::Number),
            Column("huge at the first fault", &["@.short.thp_fault_alloc"], Form::Number),
            Column("promoted", &["@.short.res_pages_collapsed"], Form::Number),
            Column("by copy", &["@.short.thp_collapse_alloc"], Form::Number),
        ],
    },
    Table {
        name: "snapshot",
        corner: "snapshot: a child reads all, the parent writes 64 pages of each region meanwhile, the child ends",
        experiment: "thp",
        lines: POLICIES,
        columns: &[
            Column("p50", &["@.snapshot.p50"], Form::Number),
            Column("p99", &["@.snapshot.p99"], Form::Number),
            Column("total of the parent's writes", &["@.snapshot.total"], Form::Number),
            Column("huge afterwards, of 16", &["@.snapshot.huge"], Form::Number),
            Column("pages brought back", &["@.snapshot.res_pages_brought_back"], Form::Number),
        ],
    },
    Table {
        name: "against-never",
        corner: "all writes, of what they cost under `never`",
        experiment: "thp",
        lines: POLICIES,
        columns: &[
            Column("a fault, p50", &["@.sequential.p50", "never.sequential.p50"], Form::Share),
            of_never!("sequential", "sequential"),
            of_never!("dense", "dense"),
            of_never!("random", "random"),
            of_never!("sparse", "sparse"),
            of_never!("grow", "grow"),
            of_never!("short", "short"),
            of_never!("snapshot", "snapshot"),
        ],
    },
    Table {
        name: "threshold",
        corner: "the first touch of 2 MiB",
        experiment: "threshold",
        lines: &[
            ("fault_thp_2m_write", "a write"),
            ("fault_thp_2m_read_zeropage", "a read"),
            ("cow_thp_child_first_write", "a child's write after fork"),
            ("madv_collapse_2m", "MADV_COLLAPSE"),
            ("map_populate_64m_default", "64 MiB by MAP_POPULATE"),
        ],
        columns: &[
            Column("`reserve`, threshold 1", &["@"], Form::Number),
            Column("`always`", &["against @"], Form::Number),
            Column("of these", &["@", "against @"], Form::Share),
        ],
    },
    Table {
        name: "thpfork-regions",
        corner: "1 to 512 pages",
        experiment: "thpfork",
        lines: POLICIES_OF_FORKS,
        columns: &[
            Column("regions huge at once", &["@.-512.huge_at_once"], Form::Number),
            Column("promoted in place", &["@.-512.promoted"], Form::Number),
            Column("collapsed by copy", &["@.-512.collapsed"], Form::Number),
            Column("bytes copied for that", &["@.-512.copied"], Form::Number),
            Column("pages of zeros given back", &["@.-512.given_back"], Form::Number),
        ],
    },
    Table {
        name: "thpfork",
        corner: "pages of each 2 MiB",
        experiment: "thpfork",
        lines: &[("1", "1"), ("-64", "1 to 64"), ("-128", "1 to 128"), ("-512", "1 to 512")],
        columns: &[
            Column("`never`", &["never.@"], Form::Number),
            Column("`always`", &["always.@"], Form::Number),
            Column("`underused`", &["underused.@"], Form::Number),
            Column("`defer`", &["defer.@"], Form::Number),
            Column("`reserve`", &["reserve.@"], Form::Number),
            Column("`reserve-lru`", &["reserve-lru.@"], Form::Number),
            Column("`reserve-sync`", &["reserve-sync.@"], Form::Number),
            Column("`reserve-64`", &["reserve-64.@"], Form::Number),
            Column("`full`", &["full.@"], Form::Number),
            Column("Linux 7.2 never", &["linux never.@"], Form::Number),
            Column("always", &["linux always.@"], Form::Number),
            Column("underused", &["linux underused.@"], Form::Number),
        ],
    },
];
