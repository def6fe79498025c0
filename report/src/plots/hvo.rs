//! HVO's strategies: what a folio costs, by the length of the list that it is of.

use super::{Drawn, Plot, Table, both, cell, legend};
use crate::axis::{Axis, Curve, Kind, Panel};
use crate::canvas::{Swatch, Window};
use crate::error::Error;
use crate::store::{Set, Store, once};
use crate::words::{short, with_commas};

pub(super) const PLOT: Plot = Plot {
    id: "hvo",
    title: "What does it cost to give a folio’s struct pages back, and to have them again?",
    short: "HVO by strategy and batch",
    experiment: "hvo",
    about: "Guest instructions on all CPUs for each folio of 2 MiB of a list, by the length of the list, for each \
            strategy of HVO, with 4 CPUs, tails=mask and vmemmap mapped by blocks; on a CPU with FEAT_BBM level 2, and \
            on one without FEAT_BBM.",
    draw,
};

/// A boot of the figures: its name without the strategy and the CPUs, and what it is.
#[derive(Clone, Copy, PartialEq)]
pub(super) struct Boot<'a> {
    pub strategy: &'a str,
    pub tails: &'a str,
    pub bbm: &'a str,
    pub vmemmap: &'a str,
    pub cpus: &'a str,
}

impl<'a> Boot<'a> {
    /// From the last words of a name on: a strategy may have a stroke of its own.
    pub(super) fn of(name: &'a str) -> Option<Boot<'a>> {
        let mut words = name.rsplitn(5, '-');
        let (cpus, vmemmap) = (words.next()?, words.next()?);
        let (bbm, tails) = (words.next()?, words.next()?);
        Some(Boot { strategy: words.next()?, tails, bbm, vmemmap, cpus })
    }

    /// As most were measured: 4 CPUs, tails that all strategies can do with, vmemmap by blocks.
    fn is_usual(&self) -> bool {
        (self.tails, self.vmemmap, self.cpus) == ("mask", "pmd", "4")
    }

    fn machine(&self) -> &'a str {
        match self.bbm {
            "bbm2" => "FEAT_BBM level 2",
            "bbm0" => "no FEAT_BBM",
            other => other,
        }
    }
}

/// The strategies in the order of the figures: each has its colour in all plots.
pub(super) fn strategies(set: &Set) -> Vec<&str> {
    once(set.parts::<3>().filter_map(|([boot, _, _], _)| Some(Boot::of(boot)?.strategy)))
}

/// How people call what is done, of pairs of the name of a figure and that.
pub(super) fn called_in<'a>(deeds: &[(&str, &'a str)], deed: &'a str) -> &'a str {
    deeds.iter().find(|(name, _)| *name == deed).map_or(deed, |(_, called)| *called)
}

/// The points of one boot: folios, instructions for each.
fn points(set: &Set, boot: &str, way: &str) -> Vec<(f64, f64)> {
    let rows = set.parts::<3>().filter(|([name, _, what], _)| *name == boot && *what == "ns");
    let mut points: Vec<_> = rows
        .filter_map(|([_, list, _], value)| {
            let folios: f64 = list.strip_prefix(way)?.strip_prefix('_')?.parse().ok()?;
            (folios > 0.0).then(|| (folios, value as f64 / folios))
        })
        .collect();
    points.sort_by(|one, other| one.0.total_cmp(&other.0));
    points
}

const WAYS: [(&str, &str); 2] = [("optimise", "Given back"), ("restore", "Had again")];

fn finding(panels: &[(String, Vec<Curve>)]) -> String {
    let sentence = |(title, curves): &(String, Vec<Curve>)| {
        let last = |curve: &Curve| curve.points.last().copied();
        let ends = || curves.iter().filter_map(|curve| Some((last(curve)?, &curve.name)));
        let least = ends().min_by(|one, other| one.0.1.total_cmp(&other.0.1))?;
        let most = ends().max_by(|one, other| one.0.1.total_cmp(&other.0.1))?;
        let whole = |figure: f64| with_commas(figure.round() as i64);
        Some(format!(
            "{title}, in a list of {}: {} ({}) to {} ({}).",
            whole(least.0.0),
            whole(least.0.1),
            least.1,
            whole(most.0.1),
            most.1
        ))
    };
    panels.iter().filter_map(sentence).collect::<Vec<_>>().join(" ")
}

fn draw(store: &Store) -> Result<Option<Drawn>, Error> {
    let Some(set) = store.set(PLOT.experiment)? else { return Ok(None) };
    let strategies = strategies(&set);
    let boots = once(set.parts::<3>().map(|([boot, _, _], _)| boot));
    let usual: Vec<_> = boots
        .iter()
        .filter_map(|name| Some((*name, Boot::of(name)?)))
        .filter(|(_, boot)| boot.is_usual())
        .collect();
    let mut panels = Vec::new();
    for machine in once(usual.iter().map(|(_, boot)| boot.machine())) {
        for (way, called) in WAYS {
            let own = usual.iter().filter(|(_, boot)| boot.machine() == machine);
            let curve = |(name, boot): &(&str, Boot)| {
                let series = strategies.iter().position(|known| *known == boot.strategy)?;
                let points = points(&set, name, way);
                let name = boot.strategy.to_owned();
                (!points.is_empty()).then_some(Curve { series, kind: Kind::Marked, name, points })
            };
            let curves: Vec<_> = own.filter_map(curve).collect();
            if !curves.is_empty() {
                panels.push((format!("{called}, {machine}"), curves));
            }
        }
    }
    let all = || panels.iter().flat_map(|panel| &panel.1).flat_map(|curve| &curve.points);
    if panels.is_empty() {
        return Ok(None);
    }
    let mut folios: Vec<_> = all().map(|point| point.0).collect();
    folios.sort_by(f64::total_cmp);
    folios.dedup();
    let x = Axis::with_ticks(folios.iter().map(|folios| (*folios, folios.to_string())).collect());
    let y = Axis::from_zero(all().map(|point| point.1).fold(0.0, f64::max), 5, short);
    let high = |window: Window| window.pick(290, 260);
    let columns = |window: Window| window.pick(2, 1);
    let rows = |window: Window| (panels.len() as i32 + columns(window) - 1) / columns(window);
    let label = "Curves: instructions for each folio against the length of the list, by strategy of HVO";
    let pictures = both(
        label,
        |window| rows(window) * (high(window) + 14) - 14,
        |pen| {
            let window = pen.window;
            let width = window.width() / columns(window);
            panels.iter().enumerate().try_for_each(|(n, (title, curves))| {
                let (column, row) = (n as i32 % columns(window), n as i32 / columns(window));
                Panel {
                    title,
                    corner: (column * width, row * (high(window) + 14)),
                    size: (width, high(window)),
                    x: &x,
                    y: &y,
                    x_title: "folios of the list",
                    left: 50,
                }
                .draw(pen, curves, |curve, (folios, figure)| {
                    format!(
                        "{}, list of {folios}: {} for each",
                        curve.name,
                        with_commas(figure.round() as i64)
                    )
                })
            })
        },
    )?;
    let heads = ["boot, and what is done".to_owned()].into_iter();
    let mut table = Table::new(heads.chain(folios.iter().map(|folios| format!("of {folios}, for each"))));
    for name in &boots {
        for (way, called) in WAYS {
            let points = points(&set, name, way);
            let figure = |folios: &f64| points.iter().find(|point| point.0 == *folios);
            let cells = folios.iter().map(|folios| cell(figure(folios).map(|point| point.1.round() as i64)));
            if !points.is_empty() {
                table.push([format!("{name}, {called}")].into_iter().chain(cells));
            }
        }
    }
    let names = strategies.iter().enumerate().map(|(n, name)| (n, Swatch::Line, (*name).to_owned()));
    let legend = legend(&names.collect::<Vec<_>>())?;
    let finding = finding(&panels);
    Ok(Some(Drawn { finding, pictures, legend, table, origin: set.origin }))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A strategy may have a stroke in its name.
    #[test]
    fn boots_are_read() {
        let boot = Boot::of("stop-machine-mask-bbm2-pmd-4").unwrap();
        assert_eq!(
            (boot.strategy, boot.machine(), boot.is_usual()),
            ("stop-machine", "FEAT_BBM level 2", true)
        );
        assert!(!Boot::of("alias-mask-bbm0-pte-4").unwrap().is_usual());
        assert!(Boot::of("alias-mask").is_none());
    }
}
