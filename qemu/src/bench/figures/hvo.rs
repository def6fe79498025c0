//! The tables of `docs/hvo.md`.

use super::{Column, Form, Table};

/// The strategies on 4 CPUs, with either encoding, and where FEAT_BBM is level 2 and where it is not.
const BOOTS: &[(&str, &str)] = &[
    ("alias-mask-bbm2-pmd-4", "`alias`"),
    ("bbml2-mask-bbm2-pmd-4", "`bbml2`"),
    ("pause-mask-bbm2-pmd-4", "`pause`"),
    ("stop-machine-mask-bbm2-pmd-4", "`stop-machine`"),
    ("fault-mask-bbm2-pmd-4", "`fault`"),
    ("bbml2-pointer-bbm2-pmd-4", "`bbml2`, `tails=pointer`"),
    ("pause-pointer-bbm2-pmd-4", "`pause`, `tails=pointer`"),
    ("stop-machine-pointer-bbm2-pmd-4", "`stop-machine`, `tails=pointer`"),
    ("fault-pointer-bbm2-pmd-4", "`fault`, `tails=pointer`"),
    ("alias-mask-bbm0-pte-4", "`alias`, cortex-a72, `vmemmap=pte`"),
    ("alias-mask-bbm0-pmd-4", "`alias`, cortex-a72"),
    ("pause-mask-bbm0-pmd-4", "`pause`, cortex-a72"),
    ("stop-machine-mask-bbm0-pmd-4", "`stop-machine`, cortex-a72"),
    ("fault-mask-bbm0-pmd-4", "`fault`, cortex-a72"),
];

/// The strategies with the encoding that all can do with, on `max`, without their number of CPUs.
const STRATEGIES: &[(&str, &str)] = &[
    ("alias-mask-bbm2-pmd", "`alias`"),
    ("bbml2-mask-bbm2-pmd", "`bbml2`"),
    ("pause-mask-bbm2-pmd", "`pause`"),
    ("stop-machine-mask-bbm2-pmd", "`stop-machine`"),
    ("fault-mask-bbm2-pmd", "`fault`"),
];

/// The same for which pools were measured.
const POOLS: &[(&str, &str)] = &[
    ("alias-mask-bbm2-pmd-2", "`alias`"),
    ("bbml2-mask-bbm2-pmd-2", "`bbml2`"),
    ("pause-mask-bbm2-pmd-2", "`pause`"),
    ("stop-machine-mask-bbm2-pmd-2", "`stop-machine`"),
    ("fault-mask-bbm2-pmd-2", "`fault`"),
];

/// Instructions a folio of lists one way.
macro_rules! a_folio {
    ($name:literal, $corner:literal) => {
        Table {
            name: $name,
            corner: $corner,
            experiment: "hvo",
            lines: BOOTS,
            columns: &[
                Column("alone", &[concat!("@.", $name, "_1.ns")], Form::Number),
                Column("of 8", &[concat!("@.", $name, "_8.ns")], Form::Of(8)),
                Column("of 64", &[concat!("@.", $name, "_64.ns")], Form::Of(64)),
                Column("of 512", &[concat!("@.", $name, "_512.ns")], Form::Of(512)),
                Column("of 4096", &[concat!("@.", $name, "_4096.ns")], Form::Of(4096)),
            ],
        }
    };
}

/// What is done to entries and CPUs for a list one way.
macro_rules! a_list {
    ($name:literal, $corner:literal, $list:literal) => {
        Table {
            name: $name,
            corner: $corner,
            experiment: "hvo",
            lines: BOOTS,
            columns: &[
                Column("stores", &[concat!("@.", $list, ".stores")], Form::Number),
                Column("breaks", &[concat!("@.", $list, ".breaks")], Form::Number),
                Column("TLBIs", &[concat!("@.", $list, ".tlbi")], Form::Number),
                Column("DSBs", &[concat!("@.", $list, ".dsb")], Form::Number),
                Column("grace periods", &[concat!("@.", $list, ".grace")], Form::Number),
                Column("IPIs", &[concat!("@.", $list, ".ipis")], Form::Number),
                Column("pauses", &[concat!("@.", $list, ".pauses")], Form::Number),
                Column("longest", &[concat!("@.", $list, ".longest")], Form::Number),
            ],
        }
    };
}

/// By CPUs, a folio of a list of 512.
macro_rules! by_cpus {
    ($name:literal, $corner:literal, $way:literal) => {
        Table {
            name: $name,
            corner: $corner,
            experiment: "hvo",
            lines: STRATEGIES,
            columns: &[
                Column("1 CPU", &[concat!("@-1.", $way, "_512.ns")], Form::Of(512)),
                Column("2", &[concat!("@-2.", $way, "_512.ns")], Form::Of(512)),
                Column("4", &[concat!("@-4.", $way, "_512.ns")], Form::Of(512)),
                Column("8", &[concat!("@-8.", $way, "_512.ns")], Form::Of(512)),
                Column("longest pause, 2", &[concat!("@-2.", $way, "_512.longest")], Form::Number),
                Column("4", &[concat!("@-4.", $way, "_512.longest")], Form::Number),
                Column("8", &[concat!("@-8.", $way, "_512.longest")], Form::Number),
            ],
        }
    };
}

/// One operation on a pool of 1 GiB, on and off.
macro_rules! pool {
    ($name:literal, $corner:literal, $table:literal) => {
        Table {
            name: $name,
            corner: $corner,
            experiment: "hvopools",
            lines: POOLS,
            columns: &[
                Column("pages of 1 GiB", &[concat!("@.", $table, ".pages")], Form::Number),
                Column("HVO off", &[concat!("@.", $table, ".off")], Form::Number),
                Column("on", &[concat!("@.", $table, ".ns")], Form::Number),
                Column("more", &[concat!("@.", $table, ".permille")], Form::More),
                Column("breaks", &[concat!("@.", $table, ".breaks")], Form::Number),
                Column("pauses", &[concat!("@.", $table, ".pauses")], Form::Number),
                Column("longest", &[concat!("@.", $table, ".longest")], Form::Number),
                Column("faults", &[concat!("@.", $table, ".faults")], Form::Number),
            ],
        }
    };
}

/// Every table of the page.
pub(super) const TABLES: &[Table] = &[
    a_folio!("optimise", "instructions to optimise a folio of 2 MiB"),
    a_folio!("restore", "instructions to restore it"),
    a_list!("alone", "a folio of 2 MiB alone is optimised", "optimise_1"),
    a_list!("long", "a list of 4096 is optimised", "optimise_4096"),
    a_list!("back", "a list of 4096 is restored", "restore_4096"),
    Table {
        name: "first",
        corner: "the first folio of a block of vmemmap",
        experiment: "hvo",
        lines: BOOTS,
        columns: &[
            Column("instructions", &["@.first_1.ns"], Form::Number),
            Column("splits", &["@.first_1.splits"], Form::Number),
            Column("breaks", &["@.first_1.breaks"], Form::Number),
            Column("TLBIs", &["@.first_1.tlbi"], Form::Number),
            Column("pauses", &["@.first_1.pauses"], Form::Number),
            Column("longest", &["@.first_1.longest"], Form::Number),
        ],
    },
    by_cpus!("cpus", "a folio of 512 is optimised", "optimise"),
    by_cpus!("cpus-back", "and restored", "restore"),
    Table {
        name: "walkers",
        corner: "512 remaps, 64 at a time, beside 3 walkers",
        experiment: "hvo",
        lines: BOOTS,
        columns: &[
            Column("tries meanwhile", &["@.walkers.tries"], Form::Number),
            Column("of 1000 there was time for", &["@.walkers.progress"], Form::Number),
            Column("waited for an entry", &["@.walkers.faults"], Form::Number),
            Column("TLB conflicts", &["@.walkers.conflicts"], Form::Number),
            Column("held", &["@.walkers.pauses"], Form::Number),
            Column("wrong references", &["@.walkers.wrong"], Form::Number),
        ],
    },
    Table {
        name: "sizes",
        corner: "`alias`, one folio of",
        experiment: "hvo",
        lines: &[("2m", "2 MiB"), ("32m", "32 MiB"), ("1g", "1 GiB")],
        columns: &[
            Column("bytes freed", &["alias-mask-bbm2-pmd-4.size_@.freed"], Form::Number),
            Column("optimise", &["alias-mask-bbm2-pmd-4.optimise_@.ns"], Form::Number),
            Column("stores", &["alias-mask-bbm2-pmd-4.optimise_@.stores"], Form::Number),
            Column("TLBIs", &["alias-mask-bbm2-pmd-4.optimise_@.tlbi"], Form::Number),
            Column("restore", &["alias-mask-bbm2-pmd-4.restore_@.ns"], Form::Number),
            Column("stores", &["alias-mask-bbm2-pmd-4.restore_@.stores"], Form::Number),
            Column("TLBIs", &["alias-mask-bbm2-pmd-4.restore_@.tlbi"], Form::Number),
        ],
    },
    pool!("pool-allocate", "allocate", "allocate"),
    pool!("pool-free", "free", "free"),
    pool!("pool-demote", "demote to 2 MiB", "demote"),
    pool!("pool-free-2m", "free the 2 MiB", "free_2m"),
    Table {
        name: "pool-goals",
        corner: "instructions more | Linux's series: time more | goal",
        experiment: "hvopools",
        lines: &[
            ("allocate", "allocate | +4 % | at most +3 %"),
            ("free", "free | +4 % | at most +3 %"),
            ("demote", "demote to 2 MiB | +131 % | at most +25 %"),
            ("free_2m", "free the 2 MiB | +209 % | at most +35 %"),
        ],
        columns: &[Column("here, `alias`", &["alias-mask-bbm2-pmd-2.@.permille"], Form::More)],
    },
];
