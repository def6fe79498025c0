//! The fork test: how many children fit, by how much of each 2 MiB they touch.

use super::{Drawn, Plot, Table, both, cell, legend};
use crate::axis::{Axis, Curve, Kind, Panel};
use crate::canvas::{Swatch, Window};
use crate::error::Error;
use crate::store::{Set, Store, once};
use crate::words::{count, short, with_commas};

pub(super) const PLOT: Plot = Plot {
    id: "density",
    title: "How many children fit before somebody is killed?",
    short: "The fork test",
    experiment: "thpfork",
    about: "Children of 256 MiB each that write so many pages of every 2 MiB, a random number up to that where it is \
            a range, until memory is out; by policy for huge pages. Left in the mean number of pages, both axes \
            logarithmic; right against small pages only, of the same kernel.",
    draw,
};

/// The policy that has no huge pages, which others are held against.
const SMALL: &str = "never";
/// Series of Linux come after ours.
const LINUX: &str = "Linux 7.2, ";

/// Pages as they are asked for: 1, or -64 for a random number from 1 to 64.
#[derive(Clone, Copy, PartialEq)]
struct Pages(i64);

impl Pages {
    fn mean(self) -> f64 {
        if self.0 < 0 { (1 - self.0) as f64 / 2.0 } else { self.0 as f64 }
    }

    fn text(self) -> String {
        if self.0 < 0 { format!("1–{}", -self.0) } else { self.0.to_string() }
    }
}

/// Children of one policy, on Quire or on Linux.
struct Policy {
    name: String,
    series: usize,
    kind: Kind,
    children: Vec<(Pages, i64)>,
}

fn policies(set: &Set) -> Vec<Policy> {
    let names = once(set.parts::<2>().map(|([name, _], _)| name));
    let pages = |name: &str| {
        let pages = name.split_once('.')?.1.parse().ok()?;
        Some(Pages(pages))
    };
    let mut all = Vec::new();
    for (series, policy) in names.iter().enumerate() {
        let own = || set.rows.iter().filter(|row| row.name.split('.').next() == Some(policy));
        let ours = own().filter_map(|row| Some((pages(&row.name)?, row.value)));
        let (name, kind) = ((*policy).to_owned(), Kind::Marked);
        all.push(Policy { name, series, kind, children: ours.collect() });
        let linux = own().filter_map(|row| Some((pages(&row.name)?, row.linux.as_ref()?.linux_7_2)));
        let (name, kind, children) = (format!("{LINUX}{policy}"), Kind::Dashed, linux.collect::<Vec<_>>());
        if !children.is_empty() {
            all.push(Policy { name, series, kind, children });
        }
    }
    for policy in &mut all {
        policy.children.retain(|(_, children)| *children > 0);
        policy.children.sort_by(|one, other| one.0.mean().total_cmp(&other.0.mean()));
    }
    all.sort_by_key(|policy| policy.kind == Kind::Dashed);
    all
}

fn children(policy: &Policy, pages: Pages) -> Option<i64> {
    policy.children.iter().find(|one| one.0 == pages).map(|one| one.1)
}

/// The policy without huge pages of the same kernel.
fn control<'a>(all: &'a [Policy], of: &Policy) -> Option<&'a Policy> {
    all.iter().find(|other| other.kind == of.kind && other.name.trim_start_matches(LINUX) == SMALL)
}

fn finding(all: &[Policy], pages: &[Pages]) -> String {
    let ours = || all.iter().filter(|policy| policy.kind == Kind::Marked);
    let sentence = |pages: &Pages| {
        let had: Vec<_> =
            ours().filter_map(|policy| Some((children(policy, *pages)?, &policy.name))).collect();
        let (least, most) = (had.iter().min_by_key(|one| one.0)?, had.iter().rev().max_by_key(|one| one.0)?);
        let others = had.iter().filter(|one| one.0 == most.0).count() - 1;
        let and = if others == 0 { String::new() } else { format!(" and {}", count(others, "other")) };
        let (few, many) = (with_commas(least.0), with_commas(most.0));
        let pages = match pages {
            Pages(1) => "1 page".to_owned(),
            pages => format!("{} pages", pages.text()),
        };
        (few != many).then(|| format!("{pages}: {few} with {}, {many} with {}{and}", least.1, most.1))
    };
    let sentences: Vec<_> = pages.iter().filter_map(sentence).collect();
    if sentences.is_empty() {
        return String::new();
    }
    format!("Children that fit, where each touches so much of every 512 pages. {}.", sentences.join("; "))
}

/// Points beside one another instead of one over the other, as several policies fit the same number; those of Linux
/// are short lines.
fn beside(all: &[Policy], pages: &[Pages]) -> Vec<Curve> {
    let step = 0.8 / all.len().max(1) as f64;
    let curve = |(place, policy): (usize, &Policy)| {
        let half = if policy.kind == Kind::Dashed { step * 0.4 } else { 0.0 };
        let share = |(n, pages): (usize, &Pages)| {
            let small = children(control(all, policy)?, *pages)?;
            let x = n as f64 + 0.6 + step * (place as f64 + 0.5);
            let share = children(policy, *pages)? as f64 / small as f64 * 100.0;
            let points =
                if half > 0.0 { vec![(x - half, share), (x + half, share)] } else { vec![(x, share)] };
            Some(Curve { series: policy.series, kind: policy.kind, name: policy.name.clone(), points })
        };
        pages.iter().enumerate().filter_map(share).collect::<Vec<_>>()
    };
    let without_control = all.iter().filter(|policy| policy.name.trim_start_matches(LINUX) != SMALL);
    without_control.enumerate().flat_map(curve).collect()
}

fn draw(store: &Store) -> Result<Option<Drawn>, Error> {
    let Some(set) = store.set(PLOT.experiment)? else { return Ok(None) };
    let all = policies(&set);
    let mut pages: Vec<_> = all.iter().flat_map(|policy| policy.children.iter().map(|one| one.0)).collect();
    pages.sort_by(|one, other| one.mean().total_cmp(&other.mean()));
    pages.dedup();
    if pages.is_empty() {
        return Ok(None);
    }
    let curve = |policy: &Policy| Curve {
        series: policy.series,
        kind: policy.kind,
        name: policy.name.clone(),
        points: policy.children.iter().map(|(pages, children)| (pages.mean(), *children as f64)).collect(),
    };
    // Linux below: where both are, ours is seen.
    let mut curves: Vec<_> = all.iter().rev().map(curve).collect();
    curves.sort_by_key(|curve| curve.kind == Kind::Marked);
    let x = |window: Window| {
        // On a phone there is no room for more than the most.
        let text = |pages: &Pages| window.pick(pages.text(), pages.0.abs().to_string());
        Axis::with_ticks(pages.iter().map(|pages| (pages.mean(), text(pages))).collect())
    };
    let counts = || all.iter().flat_map(|policy| policy.children.iter().map(|one| one.1 as f64));
    let y = Axis::logarithmic(counts(), 10, short);
    let shares = beside(&all, &pages);
    let groups = Axis::groups(pages.iter().map(|pages| pages.text()).collect());
    let most =
        shares.iter().flat_map(|curve| curve.points.iter().map(|point| point.1)).fold(100.0, f64::max) * 1.04;
    let per_cent = Axis::from_zero(most, 6, |value| format!("{value} %"));
    let high = |window: Window| window.pick(380, 290);
    let label = "Curves: children that fit against pages touched, by policy, on Quire and on Linux";
    let pictures = both(
        label,
        |window| window.pick(380, 2 * 290 + 14),
        |pen| {
            let window = pen.window;
            let width = window.pick(window.width() / 2, window.width());
            let tip = |curve: &Curve, text: String| format!("{}: {text}", curve.name);
            let panel = Panel {
                title: "children",
                corner: (0, 0),
                size: (width, high(window)),
                x: &x(window),
                y: &y,
                x_title: window.pick("pages touched of each 512", "pages touched of each 512, at most"),
                left: 50,
            };
            panel.draw(pen, &curves, |curve, (_, children)| tip(curve, format!("{children} children")))?;
            let panel = Panel {
                title: &format!("children, of those with {SMALL}"),
                corner: window.pick((width, 0), (0, high(window) + 14)),
                x: &groups,
                y: &per_cent,
                x_title: "pages touched of each 512",
                ..panel
            };
            panel.draw(pen, &shares, |curve, (_, share)| tip(curve, format!("{share:.1} % of {SMALL}")))
        },
    )?;
    let heads = ["policy".to_owned()]
        .into_iter()
        .chain(pages.iter().map(|pages| format!("of {} pages", pages.text())));
    let mut table = Table::new(heads);
    for policy in &all {
        let figures = pages.iter().map(|pages| cell(children(policy, *pages)));
        table.push([policy.name.clone()].into_iter().chain(figures));
    }
    let entry = |policy: &Policy| {
        let kind = if policy.kind == Kind::Dashed { Swatch::Dashed } else { Swatch::Line };
        (policy.series, kind, policy.name.clone())
    };
    let legend = legend(&all.iter().map(entry).collect::<Vec<_>>())?;
    let finding = finding(&all, &pages);
    Ok(Some(Drawn { finding, pictures, legend, table, origin: set.origin }))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A random number from 1 on stands at its mean.
    #[test]
    fn pages_are_read() {
        assert_eq!((Pages(1).mean(), Pages(1).text().as_str()), (1.0, "1"));
        assert_eq!((Pages(-64).mean(), Pages(-64).text().as_str()), (32.5, "1–64"));
    }
}
