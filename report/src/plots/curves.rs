//! What fork, munmap and collapse cost by the number of pages, for each way of counting mappings.

use super::{Drawn, Plot, Table, both, cell, legend};
use crate::axis::{Axis, Curve, Kind, Panel};
use crate::canvas::{Swatch, Window};
use crate::error::Error;
use crate::store::{Set, Store, once};
use crate::words::{short, with_commas};

pub(super) const PLOT: Plot = Plot {
    id: "curves",
    title: "How does the cost grow with the pages that are mapped?",
    short: "Cost against pages",
    experiment: "curves",
    about: "A folio of 2 MiB of which so many pages are mapped by entries of 4 KiB; guest instructions of one \
            operation, for each way of counting mappings (mapcount=); one that has no curve refuses the \
            operation. Both axes are logarithmic.",
    draw,
};

/// The points of one curve: pages, instructions.
fn points(set: &Set, scheme: &str, operation: &str) -> Vec<(f64, f64)> {
    let own = set.parts::<3>().filter(|([one, two, _], _)| (*one, *two) == (scheme, operation));
    let mut points: Vec<_> =
        own.filter_map(|([_, _, pages], value)| Some((pages.parse().ok()?, value as f64))).collect();
    points.retain(|point: &(f64, f64)| point.0 > 0.0 && point.1 > 0.0);
    points.sort_by(|one, other| one.0.total_cmp(&other.0));
    points
}

fn finding(set: &Set, schemes: &[&str], operations: &[&str]) -> String {
    let sentence = |operation: &&str| {
        let last = |scheme: &&str| points(set, scheme, operation).last().map(|point| (point.1, point.0));
        let ends = schemes.iter().filter_map(|scheme| Some((last(scheme)?, *scheme)));
        let least = ends.clone().min_by(|one, other| one.0.0.total_cmp(&other.0.0))?;
        let most = ends.max_by(|one, other| one.0.0.total_cmp(&other.0.0))?;
        let (figure, pages) = least.0;
        Some(format!(
            "{operation} of {pages} pages costs from {} ({}) to {} instructions ({}).",
            with_commas(figure as i64),
            least.1,
            with_commas(most.0.0 as i64),
            most.1
        ))
    };
    operations.iter().filter_map(sentence).collect::<Vec<_>>().join(" ")
}

fn draw(store: &Store) -> Result<Option<Drawn>, Error> {
    let Some(set) = store.set(PLOT.experiment)? else { return Ok(None) };
    let schemes = once(set.parts::<3>().map(|([scheme, _, _], _)| scheme));
    let operations = once(set.parts::<3>().map(|([_, operation, _], _)| operation));
    let panels: Vec<(&str, Vec<Curve>)> = operations
        .iter()
        .map(|operation| {
            let curve = |(series, scheme): (usize, &&str)| Curve {
                series,
                kind: Kind::Marked,
                name: (*scheme).to_owned(),
                points: points(&set, scheme, operation),
            };
            (*operation, schemes.iter().enumerate().map(curve).collect())
        })
        .collect();
    let all = || panels.iter().flat_map(|panel| &panel.1).flat_map(|curve| curve.points.iter());
    if all().next().is_none() {
        return Ok(None);
    }
    let mut pages: Vec<_> = all().map(|point| point.0).collect();
    pages.sort_by(f64::total_cmp);
    pages.dedup();
    let x = |every: usize| {
        let tick = |(n, pages): (usize, &f64)| {
            (*pages, if n % every == 0 { pages.to_string() } else { String::new() })
        };
        Axis::with_ticks(pages.iter().enumerate().map(tick).collect())
    };
    let high = |window: Window| window.pick(380, 300);
    let many = panels.len() as i32;
    let label = format!("Curves of {} against pages, one for each way of counting", operations.join(", "));
    let height = |window: Window| window.pick(high(window), many * (high(window) + 14) - 14);
    let pictures = both(&label, height, |pen| {
        let window = pen.window;
        let width = window.pick(window.width() / many, window.width());
        panels.iter().enumerate().try_for_each(|(n, (operation, curves))| {
            let own = curves.iter().flat_map(|curve| curve.points.iter().map(|point| point.1));
            let n = n as i32;
            Panel {
                title: &format!("{operation}, instructions"),
                corner: window.pick((n * width, 0), (0, n * (high(window) + 14))),
                size: (width, high(window)),
                x: &x(window.pick(3, 1)),
                y: &Axis::logarithmic(own, 8, short),
                x_title: "pages",
                left: 52,
            }
            .draw(pen, curves, |curve, (pages, figure)| {
                format!("{}, {pages} pages: {} instructions", curve.name, with_commas(figure as i64))
            })
        })
    })?;
    let heads =
        ["operation and pages".to_owned()].into_iter().chain(schemes.iter().map(|&name| name.to_owned()));
    let mut table = Table::new(heads);
    for operation in &operations {
        for pages in &pages {
            let figures =
                schemes.iter().map(|scheme| cell(set.value(&format!("{scheme}.{operation}.{pages}"))));
            table.push([format!("{operation} {pages}")].into_iter().chain(figures));
        }
    }
    let names = schemes.iter().enumerate().map(|(n, scheme)| (n, Swatch::Line, (*scheme).to_owned()));
    let legend = legend(&names.collect::<Vec<_>>())?;
    let finding = finding(&set, &schemes, &operations);
    Ok(Some(Drawn { finding, pictures, legend, table, origin: set.origin }))
}
