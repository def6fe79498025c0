//! What HVO makes of operations on pools of 1 GiB, beside the best series for Linux.

use super::bars::{Bar, Group};
use super::columns::Columns;
use super::hvo::{Boot, called_in, strategies};
use super::{Drawn, Plot, Table, both, cell, legend};
use crate::axis::Axis;
use crate::canvas::Swatch;
use crate::error::Error;
use crate::store::{Set, Store, once};
use crate::words::ratio;
use qemu::bench::peers::Peers;

pub(super) const PLOT: Plot = Plot {
    id: "pools",
    title: "What does HVO make of an operation on a pool?",
    short: "Pools with HVO",
    experiment: "hvopools",
    about: "The cost of an operation on a pool of pages of 1 GiB with HVO, divided by the cost without it; by \
            strategy, with 2 CPUs. Instructions here; beside it time, of the best series for Linux, on a machine of its \
            own: what is close by one may be far by the other.",
    draw,
};

/// Operations, by the names of the figures.
const DEEDS: [(&str, &str); 4] = [
    ("allocate", "Allocate"),
    ("free", "Free"),
    ("demote", "Demote to 2 MiB"),
    ("free_2m", "Free the 2 MiB"),
];

/// The colour of Linux.
const UPSTREAM: usize = 7;

fn called(deed: &str) -> &str {
    called_in(&DEEDS, deed)
}

fn finding(set: &Set, boots: &[(&str, Boot)], deeds: &[&str], peers: &Peers) -> String {
    let sentence = |deed: &&str| {
        let own = boots
            .iter()
            .filter_map(|(name, boot)| Some((set.value(&format!("{name}.{deed}.permille"))?, boot.strategy)));
        let least = own.min()?;
        let upstream = peers
            .upstream(deed)
            .map_or(String::new(), |upstream| format!(" (upstream {})", ratio(upstream as f64 / 1000.0)));
        Some(format!("{}: from {} with {}{upstream}", called(deed), ratio(least.0 as f64 / 1000.0), least.1))
    };
    let all: Vec<_> = deeds.iter().filter_map(sentence).collect();
    format!("Times the cost without HVO. {}.", all.join("; "))
}

fn draw(store: &Store) -> Result<Option<Drawn>, Error> {
    let Some(set) = store.set(PLOT.experiment)? else { return Ok(None) };
    let peers = Peers::load()?;
    let strategies = strategies(&set);
    let rows = || set.parts::<3>().filter(|([_, _, what], _)| *what == "permille");
    let boots: Vec<_> = once(rows().map(|([boot, _, _], _)| boot))
        .into_iter()
        .filter_map(|name| Some((name, Boot::of(name)?)))
        .collect();
    let deeds = once(rows().map(|([_, deed, _], _)| deed));
    if boots.is_empty() {
        return Ok(None);
    }
    let bar = |name: &str, series, permille: i64, deed: &str| {
        let times = permille as f64 / 1000.0;
        let tip = format!("{}, {name}: {} times the cost without HVO", called(deed), ratio(times));
        Bar { name: name.to_owned(), series, to: Some(times), figure: ratio(times), tip }
    };
    let group = |deed: &&str| {
        let ours = boots.iter().filter_map(|(name, boot)| {
            let series = strategies.iter().position(|known| *known == boot.strategy)?;
            Some(bar(boot.strategy, series, set.value(&format!("{name}.{deed}.permille"))?, deed))
        });
        let upstream = peers.upstream(deed).map(|permille| bar("upstream", UPSTREAM, permille, deed));
        Group { title: called(deed).to_owned(), bars: ours.chain(upstream).collect() }
    };
    let groups: Vec<_> = deeds.iter().map(group).collect();
    let most = groups.iter().flat_map(|group| group.bars.iter().filter_map(|bar| bar.to)).fold(1.0, f64::max);
    let columns = Columns { groups: &groups, left: (110, 92), right: (52, 46), from: 0.0 };
    let label = "Bars: the cost of operations on pools with HVO, divided by that without, by strategy";
    let pictures = both(
        label,
        |window| columns.height(window),
        |pen| {
            let axis = Axis::from_zero(most, pen.window.pick(7, 4), |value| format!("{value}"));
            columns.draw(pen, &axis)
        },
    )?;
    let mut table =
        Table::new(["operation and strategy", "without HVO", "with HVO", "of 1000 without", "goal of 1000"]);
    for deed in &deeds {
        for (name, boot) in &boots {
            let value = |what: &str| set.value(&format!("{name}.{deed}.{what}"));
            let permille = format!("{name}.{deed}.permille");
            let goal = set.rows.iter().find(|row| row.name == permille).and_then(|row| row.goal);
            let figures = [value("off"), value("ns"), value("permille"), goal].map(cell);
            table.push([format!("{}, {}", called(deed), boot.strategy)].into_iter().chain(figures));
        }
        if let Some(upstream) = peers.upstream(deed) {
            let figures = [None, None, Some(upstream), None].map(cell);
            table.push([format!("{}, upstream", called(deed))].into_iter().chain(figures));
        }
    }
    let entries = strategies.iter().enumerate().map(|(n, name)| (n, Swatch::Area, (*name).to_owned()));
    let upstream = (UPSTREAM, Swatch::Area, "the best series for Linux".to_owned());
    let legend = legend(&entries.chain([upstream]).collect::<Vec<_>>())?;
    let finding = finding(&set, &boots, &deeds, &peers);
    Ok(Some(Drawn { finding, pictures, legend, table, origin: set.origin }))
}
