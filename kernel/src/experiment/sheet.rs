//! The figures of an experiment as they are shown on the console: tables for people, and JSON, an object a line.
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

/// A figure that is to come as `key=value` among the words of a line: of a program that prints no rows.
struct Announced {
    name: ArrayString<72>,
    key: ArrayString<32>,
    unit: ArrayString<16>,
}

impl Announced {
    fn read(words: &str) -> Option<Self> {
        let mut words = words.split_ascii_whitespace();
        let name = ArrayString::from(words.next()?).ok()?;
        let (key, unit) = (ArrayString::from(words.next()?).ok()?, ArrayString::from(words.next()?).ok()?);
        Some(Announced { name, key, unit })
    }

    fn value(&self, line: &str) -> Option<i64> {
        let value = |word: &str| word.strip_prefix(&*self.key)?.strip_prefix('=')?.parse().ok();
        line.split_ascii_whitespace().find_map(value)
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

    /// Takes a line: `name value unit`, where `name.min` is the least of the series whose mean `name` was; and
    /// `bench: next name key unit`, of which the figure comes in a later line. `false`: it says something else, or there
    /// was no memory for the figure.
    pub(super) fn take(&mut self, line: &str) -> bool {
        if let Some(words) = line.strip_prefix("bench: next ") {
            self.announced = Announced::read(words);
            return self.announced.is_some();
        }
        let value = self.announced.as_ref().and_then(|announced| announced.value(line));
        if let (Some(value), Some(Announced { name, unit, .. })) = (value, &self.announced) {
            let figure = Figure { name: *name, unit: *unit, value, mean: None };
            self.announced = None;
            return self.add(figure).is_some();
        }
        self.read(line).is_some()
    }

    fn add(&mut self, figure: Figure) -> Option<()> {
        self.figures.try_reserve(1).ok()?;
        self.figures.push(figure);
        Some(())
    }

    fn read(&mut self, line: &str) -> Option<()> {
        let mut words = line.split_ascii_whitespace();
        let (name, value, unit) = (words.next()?, words.next()?.parse().ok()?, words.next()?);
        let is_plain = |word: &str| word.bytes().all(|c| c.is_ascii_alphanumeric() || b"_.+-/%".contains(&c));
        if words.next().is_some() || !is_plain(name) || !is_plain(unit) {
            return None;
        }
        if let Some(series) = name.strip_suffix(".min") {
            let figure = self.figures.iter_mut().rev().find(|figure| &*figure.name == series)?;
            figure.mean = Some(figure.value);
            figure.value = value;
            return Some(());
        }
        let (name, unit) = (ArrayString::from(name).ok()?, ArrayString::from(unit).ok()?);
        self.add(Figure { name, unit, value, mean: None })
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
