//! How long other CPUs stand still for HVO, and what they get done meanwhile.

use super::bars::{self, Bar, Group, Room};
use super::columns::{Columns, step};
use super::hvo::{Boot, called_in, strategies};
use super::{Drawn, Plot, Table, both, cell, legend};
use crate::axis::Axis;
use crate::canvas::{Swatch, Window};
use crate::error::Error;
use crate::store::{Set, Store, once};
use crate::words::{and, per_cent, short, with_commas};

pub(super) const PLOT: Plot = Plot {
    id: "pauses",
    title: "How long do the other CPUs stand still?",
    short: "Pauses",
    experiment: "hvo",
    about: "The longest time for which HVO keeps all other CPUs from running, in guest instructions, by what is done \
            and by strategy, with 4 CPUs, FEAT_BBM level 2, tails=mask and vmemmap mapped by blocks; logarithmic. What has no bar holds nobody; with fault, who touches an entry that is \
            being changed waits for it, and nobody else. Below: the share of their work that walkers of all struct \
            pages on the other CPUs get done while folios go to and fro.",
    draw,
};

/// What is done, by the names of the figures.
const DEEDS: [(&str, &str); 6] = [
    ("first_1", "The first folio of a block of vmemmap"),
    ("optimise_1", "One folio given back"),
    ("optimise_512", "512 folios given back"),
    ("restore_512", "512 folios had again"),
    ("optimise_4096", "4096 folios given back"),
    ("restore_4096", "4096 folios had again"),
];

fn called(deed: &str) -> &str {
    called_in(&DEEDS, deed)
}

/// The space above the walkers.
const ABOVE: i32 = 16;

/// The boots that are compared: as most were measured, on the CPU that lets all strategies be.
fn is_compared(boot: &Boot) -> bool {
    (boot.tails, boot.bbm, boot.vmemmap, boot.cpus) == ("mask", "bbm2", "pmd", "4")
}

fn finding(set: &Set, strategies: &[&str], boots: &[(&str, Boot)]) -> String {
    let longest = |strategy: &&str| {
        let own = boots.iter().filter(|(_, boot)| boot.strategy == *strategy);
        let rows = own.flat_map(|(name, _)| {
            set.parts::<3>().filter(move |([boot, _, what], _)| boot == name && *what == "longest")
        });
        rows.map(|(_, value)| value).max()
    };
    let none: Vec<_> = strategies.iter().filter(|name| longest(name) == Some(0)).copied().collect();
    let sentence = |name: &&str| {
        let longest = longest(name).filter(|longest| *longest > 0)?;
        Some(format!("{name} for up to {} instructions", with_commas(longest)))
    };
    let some: Vec<_> = strategies.iter().filter_map(sentence).collect();
    let some: Vec<_> = some.iter().map(String::as_str).collect();
    let hold = if none.len() == 1 { "holds" } else { "hold" };
    match (none.is_empty(), some.is_empty()) {
        (false, false) => format!("{} {hold} nobody; {}.", and(&none), and(&some)),
        (false, true) => format!("{} {hold} nobody.", and(&none)),
        _ => format!("{}.", and(&some)),
    }
}

/// What walkers of all struct pages on the other CPUs had time for while folios went to and fro.
fn walkers(set: &Set, strategies: &[&str], boots: &[(&str, Boot)]) -> Option<Group> {
    let bar = |(name, boot): &(&str, Boot)| {
        let share = set.value(&format!("{name}.walkers.progress"))? as f64 / 1000.0;
        let series = strategies.iter().position(|known| *known == boot.strategy)?;
        let (name, figure) = (boot.strategy.to_owned(), per_cent(share));
        let tip = format!("{name}: {figure} of what they do alone");
        Some(Bar { name, series, to: Some(share * 100.0), figure, tip })
    };
    let bars: Vec<_> = boots.iter().filter_map(bar).collect();
    let title = "What the other CPUs get done meanwhile".to_owned();
    (!bars.is_empty()).then_some(Group { title, bars })
}

fn draw(store: &Store) -> Result<Option<Drawn>, Error> {
    let Some(set) = store.set(PLOT.experiment)? else { return Ok(None) };
    let strategies = strategies(&set);
    let longest = || set.parts::<3>().filter(|([_, _, what], _)| *what == "longest");
    let names = once(longest().map(|([boot, _, _], _)| boot));
    let boots: Vec<_> = names
        .iter()
        .filter_map(|name| Some((*name, Boot::of(name)?)))
        .filter(|(_, boot)| is_compared(boot))
        .collect();
    let is_ours = |boot: &str| boots.iter().any(|(name, _)| *name == boot);
    let deeds = once(longest().filter(|([boot, _, _], _)| is_ours(boot)).map(|([_, deed, _], _)| deed));
    if deeds.is_empty() {
        return Ok(None);
    }
    let group = |deed: &&str| {
        let bar = |(name, boot): &(&str, Boot)| {
            let value = set.value(&format!("{name}.{deed}.longest"))?;
            let series = strategies.iter().position(|known| *known == boot.strategy)?;
            Some(Bar {
                name: boot.strategy.to_owned(),
                series,
                to: (value > 0).then_some(value as f64),
                figure: with_commas(value),
                tip: format!("{}, {}: {} instructions", called(deed), boot.strategy, with_commas(value)),
            })
        };
        Group { title: called(deed).to_owned(), bars: boots.iter().filter_map(bar).collect() }
    };
    let groups: Vec<_> = deeds.iter().map(group).collect();
    let values = || groups.iter().flat_map(|group| group.bars.iter().filter_map(|bar| bar.to));
    let walkers: Vec<_> = walkers(&set, &strategies, &boots).into_iter().collect();
    let columns = Columns { groups: &groups, left: (110, 92), right: (70, 64), from: 1.0 };
    let height = |window: Window| {
        let walkers = if walkers.is_empty() { 0 } else { bars::height(&walkers, step(window)) + ABOVE };
        columns.height(window) + walkers
    };
    let label = "Bars: the longest pause of other CPUs, by what is done and by strategy of HVO";
    let pictures = both(label, height, |pen| {
        let window = pen.window;
        columns.draw(pen, &Axis::logarithmic(values().chain([1.0]), window.pick(8, 4), short))?;
        if walkers.is_empty() {
            return Ok(());
        }
        let room = Room {
            corner: (0, columns.height(window) + ABOVE),
            width: window.width(),
            left: window.pick(110, 92),
            right: window.pick(70, 64),
            step: step(window),
        };
        bars::draw(pen, &walkers, room, &Axis::from_zero(100.0, 5, |value| format!("{value} %")), 0.0)
    })?;
    let all = once(longest().map(|([_, deed, _], _)| deed));
    let heads = ["boot".to_owned()].into_iter().chain(all.iter().map(|deed| called(deed).to_owned()));
    let heads = heads.chain(["others meanwhile, of 1000".to_owned()]);
    let mut table = Table::new(heads);
    for name in &names {
        let figures = all.iter().map(|deed| cell(set.value(&format!("{name}.{deed}.longest"))));
        let walkers = cell(set.value(&format!("{name}.walkers.progress")));
        table.push([(*name).to_owned()].into_iter().chain(figures).chain([walkers]));
    }
    let entries = strategies.iter().enumerate().map(|(n, name)| (n, Swatch::Area, (*name).to_owned()));
    let legend = legend(&entries.collect::<Vec<_>>())?;
    let finding = finding(&set, &strategies, &boots);
    Ok(Some(Drawn { finding, pictures, legend, table, origin: set.origin }))
}
