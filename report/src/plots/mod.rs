//! The plots: each takes its figures out of the store and gives pictures, a sentence and a table.
//!
//! | file | what is seen | figures |
//! |---|---|---|
//! | `ratios` | every operation beside Linux | `mmbench`, or what `make compare-linux` has left |
//! | `faults` | a page fault by its parts | `faultparts` |
//! | `curves` | fork, munmap and collapse against pages, by way of counting | `curves` |
//! | `heat` | ways of counting × questions | `mapcount` |
//! | `density` | the fork test: children against pages touched | `thpfork` |
//! | `timeline` | memory touched, used and promoted over time, by policy | `timeline` |
//! | `hvo` | HVO's strategies: a folio, by the length of its list | `hvo` |
//! | `pauses` | how long other CPUs stand still for them | `hvo` |
//! | `pools` | what HVO makes of operations on pools | `hvopools` |
//!
//! No sentence has a figure that is not taken from the store.

mod bars;
mod columns;
mod curves;
mod density;
mod faults;
mod heat;
mod hvo;
mod pauses;
mod pools;
mod ratios;
mod timeline;

use crate::canvas::{Drawing, Pen, Swatch, Window, picture, swatch};
use crate::error::Error;
use crate::store::{Origin, Store};

/// A plot of the page.
pub struct Plot {
    /// Its place on the page.
    pub id: &'static str,
    /// A question.
    pub title: &'static str,
    /// In the list of plots.
    pub short: &'static str,
    /// What is to be measured for it.
    pub experiment: &'static str,
    /// What it shows, without figures.
    pub about: &'static str,
    /// Draws it; `None` where figures are missing.
    pub draw: fn(&Store) -> Result<Option<Drawn>, Error>,
}

/// All of them, in the order of the page.
pub const PLOTS: [&Plot; 9] = [
    &ratios::PLOT,
    &faults::PLOT,
    &curves::PLOT,
    &heat::PLOT,
    &density::PLOT,
    &timeline::PLOT,
    &hvo::PLOT,
    &pauses::PLOT,
    &pools::PLOT,
];

/// A plot that was drawn.
pub struct Drawn {
    /// What came of it, in figures.
    pub finding: String,
    /// The same picture for each window.
    pub pictures: Vec<String>,
    /// Who is who: the swatch, and the name.
    pub legend: Vec<(String, String)>,
    /// The figures.
    pub table: Table,
    /// Whence they are.
    pub origin: Origin,
}

/// The figures of a plot to be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    /// The heads of the columns.
    pub heads: Vec<String>,
    /// The lines; the first cell is a name.
    pub lines: Vec<Vec<String>>,
}

impl Table {
    /// With these heads, and no lines.
    fn new(heads: impl IntoIterator<Item = impl Into<String>>) -> Table {
        Table { heads: heads.into_iter().map(Into::into).collect(), lines: Vec::new() }
    }

    fn push(&mut self, line: impl IntoIterator<Item = String>) {
        self.lines.push(line.into_iter().collect());
    }
}

/// Draws for both windows; `height` and `draw` are asked for each.
fn both(
    label: &str,
    height: impl Fn(Window) -> i32,
    draw: impl Fn(&Pen) -> Drawing,
) -> Result<Vec<String>, Error> {
    let windows = [Window::Wide, Window::Narrow].into_iter();
    windows.map(|window| Ok(picture(window, height(window), label, &draw)?)).collect()
}

/// A legend of names, in the order of their series.
fn legend(names: &[(usize, Swatch, String)]) -> Result<Vec<(String, String)>, Error> {
    let entry = |(series, kind, name): &(usize, Swatch, String)| Ok((swatch(*series, *kind)?, name.clone()));
    names.iter().map(entry).collect()
}

/// What stands in a table where there is no figure.
const NOTHING: &str = "–";

/// A figure of a table.
fn cell(figure: Option<i64>) -> String {
    figure.map_or(NOTHING.to_owned(), crate::words::with_commas)
}
