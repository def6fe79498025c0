//! A page fault by its parts.

use super::{Drawn, Plot, Table, both, cell, legend};
use crate::axis::Axis;
use crate::canvas::{Drawing, Pen, Swatch, Window};
use crate::error::Error;
use crate::palette::Ink;
use crate::store::{Set, Store, once};
use crate::words::{per_cent, short, spaced, with_commas};
use plotters::style::text_anchor::HPos;

pub(super) const PLOT: Plot = Plot {
    id: "faults",
    title: "Where do the instructions of a page fault go?",
    short: "Page faults",
    experiment: "faultparts",
    about: "Guest instructions of one fault, by the part of the kernel that they are spent in. Faults of much \
            different cost have an axis of their own.",
    draw,
};

/// A kind of fault: its parts in the order of the figures.
struct Fault<'a> {
    name: &'a str,
    parts: Vec<(usize, &'a str, i64)>,
    total: i64,
}

/// Faults whose costs differ by more than this are not on one axis.
const ONE_AXIS: i64 = 8;

fn faults<'a>(set: &'a Set, parts: &[&'a str]) -> Vec<Fault<'a>> {
    let kinds = once(set.parts::<2>().map(|([kind, _], _)| kind));
    let of_kind = |name: &'a str| {
        let own = set.parts::<2>().filter(|([kind, _], value)| *kind == name && *value > 0);
        let parts = own.filter_map(|([_, part], value)| {
            let series = parts.iter().position(|known| *known == part)?;
            Some((series, part, value))
        });
        let parts: Vec<_> = parts.collect();
        Fault { name, total: parts.iter().map(|part| part.2).sum(), parts }
    };
    kinds.into_iter().map(of_kind).filter(|fault| fault.total > 0).collect()
}

/// Faults that stand on one axis, in the order of the figures.
fn by_axis<'a, 'b>(faults: &'b [Fault<'a>]) -> Vec<Vec<&'b Fault<'a>>> {
    let mut axes: Vec<Vec<&Fault>> = Vec::new();
    for fault in faults {
        let fits = |axis: &&mut Vec<&Fault>| {
            let totals = || axis.iter().map(|fault| fault.total).chain([fault.total]);
            totals().max().unwrap_or(0) <= ONE_AXIS * totals().min().unwrap_or(0)
        };
        match axes.iter_mut().find(fits) {
            Some(axis) => axis.push(fault),
            None => axes.push(vec![fault]),
        }
    }
    axes
}

const BAR: i32 = 26;
const BELOW: i32 = 40;

fn step(window: Window) -> i32 {
    window.pick(46, 66)
}

fn draw_axis(pen: &Pen, faults: &[&Fault], top: i32) -> Drawing<i32> {
    let window = pen.window;
    let left = window.pick(210, 4);
    let right = window.width() - window.pick(100, 64);
    let most = faults.iter().map(|fault| fault.total).max().unwrap_or(1);
    let axis = Axis::from_zero(most as f64, window.pick(8, 4), short);
    let bottom = top + faults.len() as i32 * step(window);
    for (value, text) in axis.ticks() {
        let at = axis.pixel(*value, left, right);
        pen.line(&[(at, top), (at, bottom)], Ink::Grid, 1)?;
        pen.text((at, bottom + 12), HPos::Center, Ink::Muted, text)?;
    }
    for (n, fault) in faults.iter().enumerate() {
        let y = top + n as i32 * step(window) + window.pick(10, 30);
        match window {
            Window::Wide => {
                pen.text((left - 12, y + BAR / 2), HPos::Right, Ink::Text, &spaced(fault.name))?;
            }
            Window::Narrow => {
                pen.rectangle((0, y - 26), (window.width(), y - 2), Ink::Surface)?;
                pen.text((left, y - 12), HPos::Left, Ink::Text, &spaced(fault.name))?;
            }
        }
        let mut sum = 0;
        for &(series, part, value) in &fault.parts {
            let from = axis.pixel(sum as f64, left, right);
            sum += value;
            let to = axis.pixel(sum as f64, left, right);
            pen.rectangle((from, y), (to, y + BAR), Ink::Series(series))?;
            let share = value as f64 / fault.total as f64;
            // A seam, so that neighbours are told apart without their colours.
            pen.line(&[(to, y), (to, y + BAR)], Ink::Surface, 2)?;
            let tip =
                format!("{}: {} of {}, {}", spaced(part), with_commas(value), fault.total, per_cent(share));
            pen.tip((from, y), (to, y + BAR), tip)?;
        }
        let end = axis.pixel(fault.total as f64, left, right);
        pen.text((end + 10, y + BAR / 2), HPos::Left, Ink::Text, &with_commas(fault.total))?;
    }
    Ok(bottom + BELOW)
}

fn finding(faults: &[Fault]) -> String {
    let sentence = |fault: &Fault| {
        let most = fault.parts.iter().max_by_key(|part| part.2);
        most.map(|(_, part, value)| {
            let share = per_cent(*value as f64 / fault.total as f64);
            let total = with_commas(fault.total);
            format!("{}: {total} instructions, {share} of them {}.", spaced(fault.name), spaced(part))
        })
    };
    faults.iter().filter_map(sentence).collect::<Vec<_>>().join(" ")
}

fn draw(store: &Store) -> Result<Option<Drawn>, Error> {
    let Some(set) = store.set(PLOT.experiment)? else { return Ok(None) };
    let parts = once(set.parts::<2>().map(|([_, part], _)| part));
    let faults = faults(&set, &parts);
    let axes = by_axis(&faults);
    let height = |window: Window| {
        axes.iter().map(|axis| axis.len() as i32 * step(window) + BELOW).sum::<i32>() - window.pick(10, 12)
    };
    let label = "Stacked bars: the instructions of each kind of page fault by part";
    let pictures = both(label, height, |pen| {
        axes.iter().try_fold(4, |top, faults| draw_axis(pen, faults, top)).map(|_| ())
    })?;
    let heads = ["part".to_owned()].into_iter().chain(faults.iter().map(|fault| spaced(fault.name)));
    let mut table = Table::new(heads);
    for part in &parts {
        let figures = faults.iter().map(|fault| cell(set.value(&format!("{}.{part}", fault.name))));
        table.push([spaced(part)].into_iter().chain(figures));
    }
    let totals = faults.iter().map(|fault| with_commas(fault.total));
    table.push(["all".to_owned()].into_iter().chain(totals));
    let names = parts.iter().enumerate().map(|(n, part)| (n, Swatch::Area, spaced(part)));
    let legend = legend(&names.collect::<Vec<_>>())?;
    Ok(Some(Drawn { finding: finding(&faults), pictures, legend, table, origin: set.origin }))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Faults of like cost share an axis, in whatever order they come.
    #[test]
    fn axes_are_for_like_costs() {
        let fault = |name, total| Fault { name, parts: Vec::new(), total };
        let faults =
            [fault("a", 800), fault("b", 40_000), fault("c", 5000), fault("d", 100), fault("e", 9000)];
        let names = |axis: &Vec<&Fault>| axis.iter().map(|fault| fault.name).collect::<String>();
        let axes: Vec<_> = by_axis(&faults).iter().map(names).collect();
        assert_eq!(axes, ["ac", "be", "d"]);
    }
}
