//! What smaps says of a huge page in each way of counting, case by case: the table in `mm/README.md`.

use std::collections::BTreeSet;

use mm::Mm;
use mm::config::{Mapcount, ThpMode};
use mm::kalloc::KArc;
use mm::space::{AddressSpace, MapProt};

use crate::kit::{BASE, HUGE, PAGE, RW, Truth, machine, pages, populated, rollup};

type Space = KArc<AddressSpace>;

/// A case: what is done to a process with one huge page, which one block maps, and what each process is called that is
/// left.
struct Case {
    names: &'static [&'static str],
    make: fn(&Mm, Space) -> Vec<Space>,
}

/// Splits the block, and leaves one VMA.
fn in_pieces(mm: &Mm, space: &Space) {
    mm.mprotect(space, BASE, PAGE, MapProt::READ).unwrap();
    mm.mprotect(space, BASE, PAGE, RW).unwrap();
}

fn fork(mm: &Mm, parent: &Space) -> Space {
    mm.fork_space(parent).unwrap()
}

const CASES: [Case; 8] = [
    Case { names: &["mapped whole, by one block"], make: |_, space| vec![space] },
    Case {
        names: &["mapped whole, by 512 entries"],
        make: |mm, space| {
            in_pieces(mm, &space);
            vec![space]
        },
    },
    Case {
        names: &["half of it mapped"],
        make: |mm, space| {
            mm.munmap(&space, BASE, HUGE / 2).unwrap();
            vec![space]
        },
    },
    Case {
        names: &["one page of it mapped"],
        make: |mm, space| {
            mm.munmap(&space, BASE + PAGE, HUGE - PAGE).unwrap();
            vec![space]
        },
    },
    Case {
        names: &["forked: parent", "forked: child"],
        make: |mm, space| {
            let child = fork(mm, &space);
            vec![space, child]
        },
    },
    Case {
        names: &["forked, the child has 512 entries: parent", "forked, the child has 512 entries: child"],
        make: |mm, space| {
            let child = fork(mm, &space);
            in_pieces(mm, &child);
            vec![space, child]
        },
    },
    Case {
        names: &["forked, the child keeps one page: parent", "forked, the child keeps one page: child"],
        make: |mm, space| {
            let child = fork(mm, &space);
            mm.munmap(&child, BASE + PAGE, HUGE - PAGE).unwrap();
            vec![space, child]
        },
    },
    Case {
        names: &["512 entries, forked twice, the last child is left"],
        make: |mm, space| {
            in_pieces(mm, &space);
            let children = [fork(mm, &space), fork(mm, &space)];
            let [first, last] = children;
            mm.destroy_space(&space);
            mm.destroy_space(&first);
            vec![last]
        },
    },
];

/// Of one process, in kB.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Told {
    rss: u64,
    pss: u64,
    private: u64,
}

/// What smaps says of each process, and what is true.
fn told(scheme: Mapcount, case: &Case) -> Vec<(Told, Told)> {
    machine(ThpMode::Always).config(|config| config.mapcount = scheme).boot(|mm, _| {
        let first = mm.new_space().unwrap();
        populated(mm, &first, BASE, HUGE);
        let spaces = (case.make)(mm, first);
        let truth = Truth::of(mm);
        let told = spaces.iter().map(|space| (by_smaps(mm, space), by_scan(&truth, space))).collect();
        spaces.iter().for_each(|space| mm.destroy_space(space));
        told
    })
}

fn by_smaps(mm: &Mm, space: &Space) -> Told {
    let sum = rollup(mm, space);
    assert_eq!(sum.get("Private_Dirty") + sum.get("Shared_Dirty"), sum.get("Rss"));
    Told { rss: sum.get("Rss"), pss: sum.get("Pss"), private: sum.get("Private_Dirty") }
}

fn by_scan(truth: &Truth, space: &Space) -> Told {
    let mapped = pages(space);
    let pss: u64 = mapped.iter().map(|&(_, pfn)| (PAGE << 12) / truth.entries(pfn)).sum();
    let alone = |pfn: u64| truth.frames[&pfn].1 == BTreeSet::from([space.id]);
    let private = mapped.iter().filter(|&&(_, pfn)| alone(pfn.raw())).count() as u64;
    Told { rss: mapped.len() as u64 * 4, pss: pss >> 22, private: private * 4 }
}

/// The rows of the table, as they stand in the file.
fn table() -> Vec<String> {
    let mut rows = Vec::new();
    for case in &CASES {
        let by_scheme: Vec<_> = Mapcount::ALL.iter().map(|&scheme| told(scheme, case)).collect();
        for (n, name) in case.names.iter().enumerate() {
            let truth = by_scheme[0][n].1;
            let mut row = format!("| {name} | {} | {}, {} |", truth.rss, truth.pss, truth.private);
            for told in &by_scheme {
                let (said, truth_of_this) = told[n];
                assert_eq!(truth_of_this, truth, "{name}: the truth depends on the scheme");
                assert_eq!(said.rss, truth.rss, "{name}: Rss");
                assert!(said.private <= truth.private, "{name}: more is called private than is");
                let cell = format!("{}, {}", said.pss, said.private);
                row += &if said == truth { " = |".to_owned() } else { format!(" {cell} |") };
            }
            rows.push(row);
        }
    }
    rows
}

/// The table in the file is what smaps says.
#[test]
fn the_table_of_the_readme() {
    let readme = include_str!("../../README.md");
    let rows = table();
    let missing: Vec<_> = rows.iter().filter(|row| !readme.contains(row.as_str())).collect();
    assert!(missing.is_empty(), "rows that mm/README.md does not have:\n{}", rows.join("\n"));
    let header: String = Mapcount::ALL.iter().map(|scheme| format!(" `{scheme}` |")).collect();
    assert!(readme.contains(&header), "mm/README.md has not the columns{header}");
}
