//! The figures of an experiment as they are shown on the console: tables for people, and JSON, an object a line. What a
//! figure is, the crate `rows` says.
#![forbid(unsafe_code)]

use allocator_api2::vec::Vec;
use arrayvec::ArrayString;
use mm::kalloc::KAlloc;

use super::description::{Description, Layout};
use crate::{print, println};

/// Narrowest column of a table.
const NARROW: usize = 9;
/// Width of what stands in front of a line of a series.
const FIRST: usize = 24;
/// Most lines, and most columns, of one table.
const MAX_WORDS: usize = 64;

/// One figure; of a series in ns the least, and the mean beside it.
struct Figure {
    name: ArrayString<72>,
    unit: ArrayString<16>,
    value: i64,
    mean: Option<i64>,
}

impl Figure {
    /// `line.table.column`, where the name has these three words.
    fn cell(&self) -> Option<[&str; 3]> {
        let mut words = self.name.split('.');
        let cell = [words.next()?, words.next()?, words.next()?];
        words.next().is_none().then_some(cell)
    }
}

/// A figure that is to come in a later line.
struct Announced {
    name: ArrayString<72>,
    key: ArrayString<32>,
    unit: ArrayString<16>,
}

impl Announced {
    fn keep(next: rows::Next<'_>) -> Option<Self> {
        let (name, unit) = (ArrayString::from(next.name).ok()?, ArrayString::from(next.unit).ok()?);
        Some(Announced { name, key: ArrayString::from(next.key).ok()?, unit })
    }
}

/// The figures, in the order in which they came.
pub(super) struct Sheet {
    figures: Vec<Figure, KAlloc>,
    announced: Option<Announced>,
}

impl Sheet {
    pub(super) const fn new() -> Self {
        Sheet { figures: Vec::new_in(KAlloc), announced: None }
    }

    /// Takes a line that is a figure, or announces one. `false`: it says something else, a figure of its name is there, or
    /// there was no memory for it.
    pub(super) fn take(&mut self, line: &str) -> bool {
        if let Some(next) = rows::Next::read(line) {
            self.announced = Announced::keep(next);
            return self.announced.is_some();
        }
        if let Some(announced) = self.announced.take() {
            let next = rows::Next { name: &announced.name, key: &announced.key, unit: &announced.unit };
            if let Some(figure) = next.find(line) {
                return self.add(figure).is_some();
            }
            self.announced = Some(announced);
        }
        rows::Figure::read(line).and_then(|figure| self.add(figure)).is_some()
    }

    /// Adds a figure; the least of a series becomes the figure of its line, whose own is the mean then.
    fn add(&mut self, figure: rows::Figure<'_>) -> Option<()> {
        let is_series = |one: &&mut Figure| {
            let series = rows::Figure { name: &one.name, value: one.value, unit: &one.unit };
            figure.is_least_of(series, one.mean.is_some())
        };
        if let Some(series) = self.figures.iter_mut().rev().find(is_series) {
            series.mean = Some(core::mem::replace(&mut series.value, figure.value));
            return Some(());
        }
        if self.figures.iter().any(|known| &*known.name == figure.name) {
            return None;
        }
        let (name, unit) = (ArrayString::from(figure.name).ok()?, ArrayString::from(figure.unit).ok()?);
        self.figures.try_reserve(1).ok()?;
        self.figures.push(Figure { name, unit, value: figure.value, mean: None });
        Some(())
    }

    /// Whether there is no figure.
    pub(super) fn is_empty(&self) -> bool {
        self.figures.is_empty()
    }

    /// Prints the figures as the experiment wants them.
    pub(super) fn print(&self, experiment: &Description) {
        let in_table = |figure: &&Figure| experiment.layout != Layout::List && figure.cell().is_some();
        for Figure { name, unit, value, mean } in self.figures.iter().filter(|figure| !in_table(figure)) {
            print!("    {name:<48} {value:>12} {unit}");
            match mean {
                Some(mean) => println!(", the mean {mean}"),
                None => println!(),
            }
        }
        let cells = || self.figures.iter().filter_map(Figure::cell);
        let lines: Words<'_> = distinct(cells().map(|cell| cell[0]));
        match experiment.layout {
            Layout::List => {}
            Layout::Tables if lines.len() > 1 => {
                let tables: Words<'_> = distinct(cells().map(|cell| cell[1]));
                tables.iter().for_each(|table| self.print_table(table));
            }
            Layout::Tables | Layout::Series => self.print_series(),
        }
    }

    /// A table for each first word, a line in it for each second word, below one head for all that have the same columns.
    fn print_series(&self) {
        let mut head = Words::new();
        let together = |a: &Figure, b: &Figure| a.cell().zip(b.cell()).is_some_and(|(a, b)| a[..2] == b[..2]);
        for figures in self.figures.chunk_by(together) {
            let Some([first, second, _]) = figures.first().and_then(Figure::cell) else { continue };
            let columns: Words<'_> = [first]
                .into_iter()
                .chain(figures.iter().filter_map(Figure::cell).map(|cell| cell[2]))
                .take(MAX_WORDS)
                .collect();
            if columns != head {
                print!("    {first:<FIRST$}");
                columns.iter().skip(1).for_each(|column| print!(" {column:>NARROW$}"));
                println!();
            }
            print!("    {second:<FIRST$}");
            for (figure, column) in figures.iter().zip(columns.iter().skip(1)) {
                print!(" {:>1$}", figure.value, column.len().max(NARROW));
            }
            println!();
            head = columns;
        }
    }

    fn print_table(&self, table: &str) {
        let cells = || {
            let figures = self.figures.iter().filter_map(|figure| Some((figure.cell()?, figure.value)));
            figures.filter(|(cell, _)| cell[1] == table)
        };
        let lines: Words<'_> = distinct(cells().map(|(cell, _)| cell[0]));
        let columns: Words<'_> = distinct(cells().map(|(cell, _)| cell[2]));
        let first = lines.iter().map(|line| line.len()).max().unwrap_or(0).max(table.len());
        print!("    {table:<first$}");
        columns.iter().for_each(|column| print!(" {column:>NARROW$}"));
        println!();
        for line in &lines {
            print!("    {line:<first$}");
            for column in &columns {
                let width = column.len().max(NARROW);
                match cells().find(|(cell, _)| cell[0] == *line && cell[2] == *column) {
                    Some((_, value)) => print!(" {value:>width$}"),
                    None => print!(" {:>width$}", "-"),
                }
            }
            println!();
        }
    }

    /// Prints them as objects.
    pub(super) fn print_json(&self) {
        for Figure { name, unit, value, mean } in &self.figures {
            print!("{{\"name\":\"{name}\",\"unit\":\"{unit}\",\"value\":{value}");
            if let Some(mean) = mean {
                print!(",\"mean\":{mean}");
            }
            println!("}}");
        }
    }
}

type Words<'s> = arrayvec::ArrayVec<&'s str, MAX_WORDS>;

/// Each word once, in the order in which they come, as many as there is room for.
fn distinct<'s>(words: impl Iterator<Item = &'s str>) -> Words<'s> {
    let mut seen = Words::new();
    for word in words {
        if !seen.contains(&word) && seen.try_push(word).is_err() {
            break;
        }
    }
    seen
}
