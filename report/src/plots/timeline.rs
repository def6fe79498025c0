//! Memory over time, a panel for each policy.

use super::{Drawn, Plot, Table, both, cell, legend};
use crate::axis::{Axis, Curve, Kind, Panel};
use crate::canvas::{Swatch, Window};
use crate::error::Error;
use crate::store::{Set, Store, once};
use crate::words::{bytes, short, with_commas};

pub(super) const PLOT: Plot = Plot {
    id: "timeline",
    title: "How much of the memory that is used was ever touched?",
    short: "Memory over time",
    experiment: "timeline",
    about: "A process by policy for huge pages: bytes that it has touched and not given up, bytes taken from memory \
            for it (used), and bytes in huge pages (promoted), against guest instructions since the start. All panels \
            have the same axes.",
    draw,
};

/// When a sample was taken.
const TIME: &str = "ns";
/// What is drawn as an area; the others are lines.
const TOUCHED: &str = "touched";
/// What is held against it.
const USED: &str = "used";

/// The samples of one policy: when, and of what how much.
fn points(set: &Set, policy: &str, what: &str) -> Vec<(f64, f64)> {
    let own = |kind: &'static str| set.parts::<3>().filter(move |([_, _, of], _)| *of == kind);
    let samples = set.parts::<3>().filter(|([name, _, of], _)| *name == policy && *of == what);
    let mut points: Vec<_> = samples
        .filter_map(|([_, sample, _], value)| {
            let at = own(TIME).find(|([name, number, _], _)| *name == policy && *number == sample)?.1;
            Some((at as f64, value as f64))
        })
        .collect();
    points.sort_by(|one, other| one.0.total_cmp(&other.0));
    points
}

fn finding(set: &Set, policies: &[&str]) -> String {
    let last = |policy: &str, what: &str| points(set, policy, what).last().map(|point| point.1);
    let ratio = |policy| {
        let (touched, used) = (last(policy, TOUCHED)?, last(policy, USED)?);
        (touched > 0.0).then_some((used / touched, policy, touched, used))
    };
    let ratios = || policies.iter().copied().filter_map(ratio);
    let least = ratios().min_by(|one, other| one.0.total_cmp(&other.0));
    let most = ratios().max_by(|one, other| one.0.total_cmp(&other.0));
    let (Some(least), Some(most)) = (least, most) else { return String::new() };
    format!(
        "At the end {} uses {} for {} touched, {:.2} times as much; {} uses {}, {:.2} times as much.",
        least.1,
        bytes(least.3),
        bytes(least.2),
        least.0,
        most.1,
        bytes(most.3),
        most.0
    )
}

fn columns(window: Window) -> i32 {
    window.pick(3, 2)
}

fn draw(store: &Store) -> Result<Option<Drawn>, Error> {
    let Some(set) = store.set(PLOT.experiment)? else { return Ok(None) };
    let policies = once(set.parts::<3>().map(|([policy, _, _], _)| policy));
    let whats: Vec<_> = once(set.parts::<3>().map(|([_, _, what], _)| what))
        .into_iter()
        .filter(|what| *what != TIME)
        .collect();
    let curves = |policy: &str| -> Vec<Curve> {
        let curve = |(series, what): (usize, &&str)| Curve {
            series,
            kind: if *what == TOUCHED { Kind::Area } else { Kind::Plain },
            name: (*what).to_owned(),
            points: points(&set, policy, what),
        };
        whats.iter().enumerate().map(curve).collect()
    };
    let panels: Vec<_> = policies.iter().map(|policy| (*policy, curves(policy))).collect();
    let all = || panels.iter().flat_map(|panel| &panel.1).flat_map(|curve| &curve.points);
    if all().next().is_none() {
        return Ok(None);
    }
    let (last, most) = all().fold((0f64, 0f64), |(last, most), point| (last.max(point.0), most.max(point.1)));
    let high = |window: Window| window.pick(190, 168);
    let rows = |window: Window| (panels.len() as i32 + columns(window) - 1) / columns(window);
    let label = "Small panels, one a policy: bytes touched, used and promoted over time";
    let pictures = both(
        label,
        |window| rows(window) * (high(window) + 10) - 10,
        |pen| {
            let window = pen.window;
            let width = window.width() / columns(window);
            let x = Axis::from_zero(last, window.pick(5, 2), short);
            // Bytes have ticks in binary units.
            let y = Axis::binary(most, bytes);
            panels.iter().enumerate().try_for_each(|(n, (policy, curves))| {
                let (column, row) = (n as i32 % columns(window), n as i32 / columns(window));
                Panel {
                    title: policy,
                    corner: (column * width, row * (high(window) + 10)),
                    size: (width, high(window)),
                    x: &x,
                    y: &y,
                    x_title: "",
                    left: window.pick(64, 56),
                }
                .draw(pen, curves, |curve, (at, figure)| {
                    format!("{policy}, {} at {}: {}", curve.name, short(at), bytes(figure))
                })
            })
        },
    )?;
    let mut table = Table::new(
        ["policy and instructions since the start".to_owned()]
            .into_iter()
            .chain(whats.iter().map(|what| format!("{what}, bytes"))),
    );
    for policy in &policies {
        for sample in
            once(set.parts::<3>().filter(|([name, _, _], _)| name == policy).map(|(parts, _)| parts[1]))
        {
            let at = set
                .value(&format!("{policy}.{sample}.{TIME}"))
                .map_or(super::NOTHING.to_owned(), with_commas);
            let figures = whats.iter().map(|what| cell(set.value(&format!("{policy}.{sample}.{what}"))));
            table.push([format!("{policy} {at}")].into_iter().chain(figures));
        }
    }
    let kind = |what: &str| if what == TOUCHED { Swatch::Area } else { Swatch::Plain };
    let names = whats.iter().enumerate().map(|(n, what)| (n, kind(what), (*what).to_owned()));
    let legend = legend(&names.collect::<Vec<_>>())?;
    Ok(Some(Drawn { finding: finding(&set, &policies), pictures, legend, table, origin: set.origin }))
}
