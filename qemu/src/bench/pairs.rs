//! The same experiment under two boot choices that shall cost the same: row against row.
//!
//! A row is off where the two figures differ by more than [`PER_CENT`], where one of them is an error, or where only
//! one of the boots has it. Figures that are no times, as a frequency, are held against each other likewise.

use super::commits;
use super::rows::{End, Output, Row};
use crate::error::Error;
use serde::Serialize;
use std::fmt;

/// By how much a row may differ from what it is held against, in per cent of that.
pub const PER_CENT: i64 = 2;

/// One row of both; an object of the JSON list.
#[derive(Debug, Serialize, PartialEq)]
pub struct Pair {
    /// What was measured.
    pub name: String,
    /// `ns` is one guest instruction.
    pub unit: String,
    /// The figure, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<i64>,
    /// What it is held against.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub against: Option<i64>,
    /// Value by what it is held against, to four places.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ratio: Option<f64>,
    /// Whether it is off by no more than [`PER_CENT`].
    pub met: bool,
}

impl Pair {
    fn new(ours: Option<&Row>, theirs: Option<&Row>) -> Option<Pair> {
        let row = ours.or(theirs)?;
        let figure = |row: Option<&Row>| row.filter(|row| !row.is_error()).map(|row| row.value);
        let (value, against) = (figure(ours), figure(theirs));
        let both = value.zip(against);
        let ratio = both.filter(|&(_, against)| against != 0);
        Some(Pair {
            name: row.name.clone(),
            unit: row.unit.clone(),
            value,
            against,
            ratio: ratio
                .map(|(value, against)| (value as f64 / against as f64 * 10_000.0).round() / 10_000.0),
            met: both.is_some_and(|(value, against)| {
                value.abs_diff(against) * 100 <= against.unsigned_abs() * PER_CENT.unsigned_abs()
            }),
        })
    }
}

/// What is said of the two boots.
#[derive(Debug)]
pub struct Pairs {
    name: String,
    /// Every row of either, in the order in which they came.
    pub pairs: Vec<Pair>,
    /// How far the worse of the two came.
    pub end: End,
}

impl Pairs {
    /// Holds what was printed against what it printed under the other choices.
    #[must_use]
    pub fn new(name: &str, output: &Output, against: &Output) -> Pairs {
        let find = |rows: &'_ Output, name: &str| rows.rows.iter().position(|row| row.name == name);
        let ours =
            output.rows.iter().map(|row| (Some(row), find(against, &row.name).map(|n| &against.rows[n])));
        let theirs = against.rows.iter().filter(|row| find(output, &row.name).is_none());
        let pairs = ours.chain(theirs.map(|row| (None, Some(row))));
        let pairs = pairs.filter_map(|(ours, theirs)| Pair::new(ours, theirs)).collect();
        let end = if against.end == End::Broken { End::Broken } else { output.end };
        Pairs { name: name.to_owned(), pairs, end }
    }

    /// Rows that differ by more than they may.
    #[must_use]
    pub fn off(&self) -> usize {
        self.pairs.iter().filter(|pair| !pair.met).count()
    }

    /// The JSON list, one object a line, of these commits.
    ///
    /// # Panics
    /// Never: every field of a pair can be written.
    #[must_use]
    pub fn json(&self, commits: &[String]) -> String {
        let object = |pair| serde_json::to_string(pair).expect("pairs are numbers and strings");
        commits::list(commits, self.pairs.iter().map(object))
    }

    /// The CSV of the pairs, below a head.
    ///
    /// # Errors
    /// [`Error::Io`]; none that is known.
    pub fn csv(&self) -> Result<Vec<u8>, Error> {
        let mut csv = csv::Writer::from_writer(Vec::new());
        csv.write_record(["name", "unit", "value", "against", "ratio"]).map_err(std::io::Error::from)?;
        for pair in &self.pairs {
            let number = |number: Option<i64>| number.map_or(String::new(), |number| number.to_string());
            let ratio = pair.ratio.map_or(String::new(), |ratio| ratio.to_string());
            let (value, against) = (number(pair.value), number(pair.against));
            csv.write_record([&pair.name, &pair.unit, &value, &against, &ratio])
                .map_err(std::io::Error::from)?;
        }
        csv.into_inner().map_err(|error| error.into_error().into())
    }
}

impl fmt::Display for Pairs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:<32} {:>11} {:>11} {:>11}", self.name, "here", "against", "ratio")?;
        for pair in &self.pairs {
            let figure = |figure: Option<i64>| figure.map_or("-".to_owned(), |figure| figure.to_string());
            write!(f, "{:<32} {:>11} {:>11}", pair.name, figure(pair.value), figure(pair.against))?;
            if let Some(ratio) = pair.ratio {
                write!(f, " {ratio:>11.4}")?;
            }
            writeln!(f, "{}", if pair.met { "" } else { " OFF" })?;
        }
        for pair in self.pairs.iter().filter(|pair| !pair.met) {
            writeln!(f, "error: {} is off by more than {PER_CENT} %", pair.name)?;
        }
        write!(f, "{}: {} rows, {} off by more than {PER_CENT} %", self.name, self.pairs.len(), self.off())?;
        let end = if self.end == End::Complete { "" } else { "; it did NOT come to its end" };
        writeln!(f, "{end}")
    }
}

#[cfg(test)]
mod tests {
    use super::super::rows::read;
    use super::*;

    fn pairs(ours: &str, theirs: &str) -> Pairs {
        let output = |rows: &str| read(&format!("bench: begin x\n{rows}bench: end x\n"), "x");
        Pairs::new("threshold", &output(ours), &output(theirs))
    }

    /// Two per cent either way are allowed, to the row; the figure is the cheapest of a series.
    #[test]
    fn two_per_cent() {
        for (value, met) in [(98, true), (102, true), (97, false), (103, false), (100, true)] {
            let pairs = pairs(&format!("a 900 ns\na.min {value} ns\n"), "a 100 ns\n");
            assert_eq!((pairs.pairs[0].met, pairs.off()), (met, usize::from(!met)), "{value}");
            assert_eq!(pairs.to_string().contains("error: a is off"), !met);
        }
        assert_eq!(pairs("a 0 ns\n", "a 0 ns\n").off(), 0);
        assert_eq!(pairs("a 1 ns\n", "a 0 ns\n").off(), 1);
    }

    /// An error, or a row that one of them lacks, is off; so is an experiment of which one did not come to its end.
    #[test]
    fn what_is_missing_is_off() {
        let all = pairs("a 1 ns\nb -12 errno\nc 3 ns\n", "a 1 ns\nb 2 ns\nd 4 ns\n");
        let names: Vec<_> = all.pairs.iter().map(|pair| (pair.name.as_str(), pair.met)).collect();
        assert_eq!(names, [("a", true), ("b", false), ("c", false), ("d", false)]);
        assert_eq!((all.off(), all.end), (3, End::Complete));
        let whole = read("bench: begin x\nbench: end x\n", "x");
        let broken = read("bench: begin x\n", "x");
        assert_eq!(Pairs::new("x", &whole, &broken).end, End::Broken);
        assert_eq!(Pairs::new("x", &broken, &whole).end, End::Broken);
    }

    /// The JSON says both figures, the ratio and whether it is met.
    #[test]
    fn json_objects() {
        let list: serde_json::Value =
            serde_json::from_str(&pairs("a 103 ns\n", "a 100 ns\n").json(&[])).unwrap();
        let object = serde_json::json!({
            "name": "a", "unit": "ns", "value": 103, "against": 100, "ratio": 1.03, "met": false
        });
        assert_eq!(list, serde_json::json!([{ "commits": [] }, object]));
    }

    /// The CSV has the same below its head, and nothing where there is no figure.
    #[test]
    fn csv_rows() {
        let csv = String::from_utf8(pairs("a 103 ns\nb 1 ns\n", "a 100 ns\n").csv().unwrap()).unwrap();
        assert_eq!(csv, "name,unit,value,against,ratio\na,ns,103,100,1.03\nb,ns,1,,\n");
    }
}
