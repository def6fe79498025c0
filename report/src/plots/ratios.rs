//! Every operation beside Linux.

use super::bars::{Bar, Group};
use super::columns::Columns;
use super::{Drawn, Plot, Table, both, cell, legend};
use crate::axis::Axis;
use crate::canvas::Swatch;
use crate::error::Error;
use crate::store::{Origin, Place, Set, Store, once};
use crate::words::{count, per_cent, ratio, with_commas};
use qemu::bench::peers::Peers;
use serde::Deserialize;

pub(super) const PLOT: Plot = Plot {
    id: "linux",
    title: "What does an operation cost, held against Linux?",
    short: "Beside Linux",
    experiment: "mmbench",
    about: "Guest instructions of each operation, divided by those of Linux on the same machine, for one and the \
            same program. The line at 1 is Linux; what ends left of it is cheaper here.",
    draw,
};

/// What a whole `make compare-linux` leaves.
#[derive(Deserialize)]
struct Measured {
    machine: Machine,
    figures: Vec<Compared>,
}

/// One row of it; what either has no figure for has no ratio.
#[derive(Deserialize)]
struct Compared {
    program: String,
    name: String,
    unit: String,
    linux: Option<i64>,
    quire: Option<i64>,
    ratio: Option<f64>,
}

/// On what it has measured.
#[derive(Deserialize)]
struct Machine {
    linux: String,
    qemu: String,
    args: String,
    cpu: String,
    /// It is that of the stored figures and of the goals.
    is_of_the_peers: bool,
    /// What of Quire.
    commits: Vec<String>,
}

/// The operations, and the Linux that they are held against.
struct Comparison {
    rows: Vec<Row>,
    linux: String,
    /// What else is to be said of it.
    remark: String,
    origin: Origin,
}

/// One operation.
struct Row {
    name: String,
    quire: i64,
    linux: i64,
    ratio: f64,
    met: Option<bool>,
}

/// What operations are about, by the first words of their names.
const GROUPS: [(&str, &[&str]); 9] = [
    ("Page faults", &["fault"]),
    ("Fork and exit", &["fork"]),
    ("Copy on write", &["cow"]),
    ("Unmapping", &["munmap", "madv_dontneed"]),
    ("Mapping and rights", &["mmap", "mprotect", "syscall"]),
    ("Moving", &["mremap"]),
    ("Huge pages made and split", &["madv_collapse", "split"]),
    ("Population", &["map_populate", "madv_populate"]),
    ("smaps", &["smaps"]),
];

/// What measures the processor is no operation.
const PROCESSOR: &str = "base_";

fn comparison(store: &Store) -> Result<Option<Comparison>, Error> {
    match store.compared::<Measured>("linux")? {
        Some((measured, place)) => Ok(Some(measured_here(measured, place, &Peers::load()?))),
        None => Ok(store.set("mmbench")?.as_ref().map(stored)),
    }
}

fn measured_here(Measured { machine, figures }: Measured, place: Place, peers: &Peers) -> Comparison {
    let Machine { linux, qemu, args, cpu, is_of_the_peers, commits } = machine;
    let row = |row: Compared| {
        let Compared { program, name, linux, quire, ratio, .. } = row;
        let (linux, quire, ratio) = (linux?, quire?, ratio?);
        let goal = peers.goal(&program, &name, |_| None).filter(|_| is_of_the_peers);
        Some(Row { met: goal.map(|most| quire <= most), name, quire, linux, ratio })
    };
    let rows = operations(figures.into_iter().filter(|row| row.unit == "ns").filter_map(row));
    let with = if args.is_empty() { String::new() } else { format!(", with “{args}”") };
    let mut remark = format!(" Linux is {linux}, measured here on {cpu} under QEMU {qemu}{with}.");
    if rows.iter().any(|row| row.met.is_some()) {
        remark += " Goals are those against Linux 7.2.";
    }
    Comparison { rows, linux: format!("Linux {linux}"), remark, origin: Origin { place, commits } }
}

fn stored(set: &Set) -> Comparison {
    let compared = set.rows.iter().filter_map(|row| {
        let linux = row.linux.as_ref()?;
        let (name, linux, ratio) = (row.name.clone(), linux.linux_7_2, linux.ratio?);
        Some(Row { name, quire: row.value, linux, ratio, met: row.met })
    });
    let (linux, remark) = ("Linux 7.2".to_owned(), String::new());
    Comparison { rows: operations(compared), linux, remark, origin: set.origin.clone() }
}

fn operations(rows: impl Iterator<Item = Row>) -> Vec<Row> {
    let is_shown = |row: &Row| {
        let what = workload(&row.name).map(|[_, _, what]| what);
        !row.name.starts_with(PROCESSOR) && what.is_none_or(|what| OF_WORKLOADS.contains(&what))
    };
    let mut rows: Vec<_> = rows.filter(|row| is_shown(row) && row.ratio > 0.0).collect();
    rows.sort_by(|one, other| one.ratio.total_cmp(&other.ratio));
    rows
}

/// The colour: the goal is met, it is missed or there is none, Linux is cheaper.
fn series(row: &Row) -> usize {
    match row.met {
        _ if row.ratio > 1.0 => 6,
        Some(true) => 0,
        _ => 7,
    }
}

/// Of a workload, `<policy>.<way>.<what>`, what is shown: all writes together, and the dear ones among them.
const OF_WORKLOADS: [&str; 2] = ["total", "p99"];

fn workload(name: &str) -> Option<[&str; 3]> {
    <[&str; 3]>::try_from(name.split('.').collect::<Vec<_>>()).ok()
}

/// The group, and the name in it.
fn group_of(name: &str) -> (String, String) {
    if let Some([policy, way, what]) = workload(name) {
        return (format!("Workloads, thp={policy}"), format!("{way}, {what}"));
    }
    let known = GROUPS.iter().find(|(_, firsts)| firsts.iter().any(|first| name.starts_with(first)));
    (known.map_or("Others", |group| group.0).to_owned(), name.to_owned())
}

fn groups(rows: &[Row]) -> Vec<Group> {
    let bar = |row: &Row| Bar {
        name: group_of(&row.name).1,
        series: series(row),
        to: Some(row.ratio),
        figure: ratio(row.ratio),
        tip: format!(
            "{}: {} here, {} on Linux, {} of it",
            row.name,
            with_commas(row.quire),
            with_commas(row.linux),
            per_cent(row.ratio)
        ),
    };
    let named: Vec<_> = rows.iter().map(|row| (group_of(&row.name).0, row)).collect();
    let titles = once(GROUPS.iter().map(|group| group.0).chain(named.iter().map(|one| one.0.as_str())));
    let of_title = |title: &str| Group {
        title: title.to_owned(),
        bars: named.iter().filter(|one| one.0 == title).map(|one| bar(one.1)).collect(),
    };
    titles.into_iter().map(of_title).filter(|group| !group.bars.is_empty()).collect()
}

fn finding(rows: &[Row]) -> String {
    let (Some(first), Some(last)) = (rows.first(), rows.last()) else { return String::new() };
    let cheaper = rows.iter().filter(|row| row.ratio < 1.0).count();
    let goals = rows.iter().filter_map(|row| row.met);
    let met = goals.clone().filter(|met| *met).count();
    let all = if cheaper == rows.len() { "all".to_owned() } else { cheaper.to_string() };
    let goals = match goals.count() {
        0 => String::new(),
        goals => format!(" {met} of {goals} goals are met."),
    };
    format!(
        "Of {}, {all} cost less than on Linux; the one in the middle needs {} of its instructions, {} only {}, \
         and {}, at the other end, {}.{goals}",
        count(rows.len(), "operation"),
        per_cent(rows[rows.len() / 2].ratio),
        first.name,
        per_cent(first.ratio),
        last.name,
        per_cent(last.ratio),
    )
}

fn draw(store: &Store) -> Result<Option<Drawn>, Error> {
    let Some(Comparison { rows, linux, remark, origin }) = comparison(store)? else { return Ok(None) };
    if rows.is_empty() {
        return Ok(None);
    }
    let groups = groups(&rows);
    let axis = Axis::logarithmic(rows.iter().map(|row| row.ratio).chain([1.0]), 8, ratio_tick);
    let label = format!("Bars of {} operations, each by {linux}, logarithmic", rows.len());
    let columns = Columns { groups: &groups, left: (206, 196), right: (46, 38), from: 1.0 };
    let pictures = both(&label, |window| columns.height(window), |pen| columns.draw(pen, &axis))?;
    let mut table = Table::new(["operation", "Quire", &linux, "ratio", "goal"]);
    for row in &rows {
        let goal = row.met.map_or(super::NOTHING, |met| if met { "met" } else { "missed" });
        let (quire, linux) = (cell(Some(row.quire)), cell(Some(row.linux)));
        table.push([row.name.clone(), quire, linux, format!("{:.3}", row.ratio), goal.to_owned()]);
    }
    let met = rows.iter().any(|row| row.met == Some(true));
    let dearer = rows.iter().any(|row| row.ratio > 1.0);
    let others = if met { "cheaper, and the goal is missed or there is none" } else { "cheaper than Linux" };
    let entries = [
        met.then_some((0, Swatch::Area, "the goal is met".to_owned())),
        Some((7, Swatch::Area, others.to_owned())),
        dearer.then_some((6, Swatch::Area, "dearer than Linux".to_owned())),
    ];
    let legend = legend(&entries.into_iter().flatten().collect::<Vec<_>>())?;
    Ok(Some(Drawn { finding: finding(&rows) + &remark, pictures, legend, table, origin }))
}

/// Ticks of ratios have no needless zeros.
fn ratio_tick(value: f64) -> String {
    format!("{}", (value * 1000.0).round() / 1000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Operations are grouped by the beginning of their names, and those that nobody knows are not lost.
    #[test]
    fn groups_are_whole() {
        let row = |name: &str, ratio| Row { name: name.to_owned(), quire: 1, linux: 2, ratio, met: None };
        let rows = operations(
            [
                row("munmap_x", 0.5),
                row("base_x", 1.0),
                row("new_thing", 0.2),
                row("madv_collapse_x", 2.0),
                row("mmap_x", 0.1),
                row("never.dense.p50", 0.1),
                row("never.dense.total", 0.4),
            ]
            .into_iter(),
        );
        let groups = groups(&rows);
        let titles: Vec<_> = groups.iter().map(|group| group.title.as_str()).collect();
        let known = ["Unmapping", "Mapping and rights", "Huge pages made and split"];
        assert_eq!(titles, [&known[..], &["Others", "Workloads, thp=never"]].concat());
        assert_eq!(groups.iter().map(|group| group.bars.len()).sum::<usize>(), 5);
        assert_eq!(groups[4].bars[0].name, "dense, total");
        assert_eq!(
            finding(&rows),
            "Of 5 operations, 4 cost less than on Linux; the one in the middle needs 40 % of \
            its instructions, mmap_x only 10 %, and madv_collapse_x, at the other end, 200 %."
        );
    }

    /// The colour says whether the goal is met; what is dearer than Linux is so whatever the goal.
    #[test]
    fn colours() {
        let row = |ratio, met| series(&Row { name: String::new(), quire: 1, linux: 1, ratio, met });
        assert_eq!(
            [row(0.3, Some(true)), row(0.5, Some(false)), row(0.5, None), row(1.1, Some(true))],
            [0, 7, 7, 6]
        );
    }
}
