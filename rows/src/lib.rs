//! The lines by which an experiment says its figures. The kernel reads them for its console, `make bench` for its files, and
//! `make compare-linux` those of Linux: a line is a figure for all of them, or for none.
//!
//! | line | meaning |
//! |---|---|
//! | `<name> <value> <unit>` | one figure; for a series in ns: the mean |
//! | `<name>.min <value> ns` | the cheapest operation of the series |
//! | `<name> -<errno> errno` | the operation failed |
//! | `<name> -1 none` | the series is empty: every operation of it failed |
//! | `bench: next <name> <key> <unit>` | the next word `<key>=<value>` is a figure: of a program that prints no rows |
//!
//! A name begins with a letter. Every other line is a remark.
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code, unstable_features)]

/// A figure, as its line has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Figure<'l> {
    /// What was measured.
    pub name: &'l str,
    /// The figure.
    pub value: i64,
    /// What it is of.
    pub unit: &'l str,
}

/// A figure that is to come among the words of a later line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Next<'l> {
    /// What it will be called.
    pub name: &'l str,
    /// The word before it.
    pub key: &'l str,
    /// What it will be of.
    pub unit: &'l str,
}

/// Units that say that an operation failed.
const FAILURES: [&str; 2] = ["errno", "none"];

/// Whether the unit says that an operation failed.
#[must_use]
pub fn is_failure(unit: &str) -> bool {
    FAILURES.contains(&unit)
}

/// The first three words of a line, and whether these are all.
fn three(line: &str) -> Option<([&str; 3], bool)> {
    let mut words = line.split_ascii_whitespace();
    let three = [words.next()?, words.next()?, words.next()?];
    Some((three, words.next().is_none()))
}

impl<'l> Figure<'l> {
    /// The figure that a line is; `None`: it is something else.
    #[must_use]
    pub fn read(line: &'l str) -> Option<Self> {
        let ([name, value, unit], all) = three(line)?;
        let is_name = |c: char| c.is_ascii_alphanumeric() || "_.+-".contains(c);
        let is_unit = |c: char| c.is_ascii_alphabetic() || "/%_".contains(c);
        let fits = all
            && name.starts_with(|c: char| c.is_ascii_alphabetic())
            && name.chars().all(is_name)
            && unit.chars().all(is_unit);
        fits.then_some(Figure { name, value: value.parse().ok()?, unit })
    }

    /// Whether this is the cheapest operation of a series, whose mean this other figure is as long as no cheapest one has come.
    #[must_use]
    pub fn is_least_of(&self, series: Figure<'_>, has_least: bool) -> bool {
        self.name.strip_suffix(".min") == Some(series.name) && self.unit == series.unit && !has_least
    }
}

impl<'l> Next<'l> {
    /// What a line announces; `None`: it announces nothing.
    #[must_use]
    pub fn read(line: &'l str) -> Option<Self> {
        let ([name, key, unit], _) = three(line.strip_prefix("bench: next ")?)?;
        Some(Next { name, key, unit })
    }

    /// The figure, where a line has it.
    #[must_use]
    pub fn find(&self, line: &str) -> Option<Figure<'l>> {
        let value = |word: &str| word.strip_prefix(self.key)?.strip_prefix('=')?.parse().ok();
        let value = line.split_ascii_whitespace().find_map(value)?;
        Some(Figure { name: self.name, value, unit: self.unit })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sentences of three words are no figures, nor is a name that begins with something else than a letter.
    #[test]
    fn what_is_no_figure() {
        for line in
            ["a b ns", "a 1", "a 1 ns more", "1a 1 ns", "error: 1 ns", "a 1 n.s", "a 1.5 ns", "+a 1 ns", ""]
        {
            assert_eq!(Figure::read(line), None, "{line}");
        }
        let figure = Figure { name: "rfc-v2+vmacount.fork", value: -7, unit: "atomics" };
        assert_eq!(Figure::read(" rfc-v2+vmacount.fork  -7 atomics\r"), Some(figure));
    }

    /// The cheapest operation belongs to the series of its name and unit, which has one.
    #[test]
    fn the_least_of_a_series() {
        let read = |line| Figure::read(line).unwrap();
        let (least, series) = (read("a.b.min 1 ns"), read("a.b 2 ns"));
        assert!(least.is_least_of(series, false) && !least.is_least_of(series, true));
        assert!(!least.is_least_of(read("a.b 2 bytes"), false) && !least.is_least_of(read("a 2 ns"), false));
        assert!(!series.is_least_of(least, false));
    }

    /// What is announced is found in a sentence by its key, and only there.
    #[test]
    fn what_is_announced() {
        let next = Next::read("bench: next never.1 child children").unwrap();
        assert_eq!(
            next.find("mib=4 child=17 killed"),
            Some(Figure { name: "never.1", value: 17, unit: "children" })
        );
        for line in ["child", "child=", "child=x", "grandchild=3", "child 3"] {
            assert_eq!(next.find(line), None, "{line}");
        }
        assert!(Next::read("bench: next never.1 child").is_none() && Next::read("next a b c").is_none());
    }

    /// What failed is told by its unit.
    #[test]
    fn failures() {
        assert!(is_failure("errno") && is_failure("none") && !is_failure("ns"));
    }
}
