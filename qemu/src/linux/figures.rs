//! Rows of both → table and JSON.
//!
//! A row that only one of both has, or that is an error on one, has no ratio, and the table says what it is there.
#![forbid(unsafe_code)]

use super::plan::{Part, WORK_POLICIES};
use crate::bench::peers::{Linux, Peers};
use crate::bench::rows::{End, Output, Row};
use serde::Serialize;
use std::fmt;

/// By how much a figure of Linux may differ from one that is stored, in per cent: that of unrelated changes.
pub const PER_CENT: u64 = 3;

/// What `workload` prints that Linux has too.
const OF_A_WORKLOAD: [&str; 9] =
    ["faults", "p50", "p99", "max", "total", "huge", "rss", "thp_fault_alloc", "thp_collapse_alloc"];

/// One row of both; an object of the JSON list.
#[derive(Clone, Debug, Serialize, PartialEq)]
pub struct Figure {
    /// The program that printed it.
    pub program: &'static str,
    /// What was measured.
    pub name: String,
    /// `ns` is one guest instruction.
    pub unit: String,
    /// On Linux.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub linux: Option<i64>,
    /// On Quire.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quire: Option<i64>,
    /// Quire's by that of Linux, to four places.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ratio: Option<f64>,
    /// Why Linux has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub linux_error: Option<String>,
    /// Why Quire has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quire_error: Option<String>,
}

impl Figure {
    fn new(program: &'static str, linux: Option<&Row>, quire: Option<&Row>) -> Option<Figure> {
        let row = linux.filter(|row| !row.is_error()).or(quire).or(linux)?;
        let value = |row: Option<&Row>| row.filter(|row| !row.is_error()).map(|row| row.value);
        let error = |row: Option<&Row>| match row {
            None => Some("absent".to_owned()),
            Some(row) if row.is_error() => Some(format!("{} {}", row.value, row.unit)),
            Some(_) => None,
        };
        let both = value(linux).zip(value(quire)).filter(|&(linux, _)| linux != 0);
        Some(Figure {
            program,
            name: row.name.clone(),
            unit: row.unit.clone(),
            linux: value(linux),
            quire: value(quire),
            ratio: both.map(|(linux, quire)| (quire as f64 / linux as f64 * 10_000.0).round() / 10_000.0),
            linux_error: error(linux),
            quire_error: error(quire),
        })
    }

    fn is_time(&self) -> bool {
        self.unit == "ns"
    }
}

/// The rows of a part on both.
#[derive(Debug)]
pub struct Table {
    program: &'static str,
    /// What stands above the column of Linux.
    linux: String,
    /// In the order of Linux; then those that only Quire has.
    pub figures: Vec<Figure>,
    /// Whether both came to their ends.
    pub complete: bool,
}

impl Table {
    /// Holds both outputs against each other. `version` is that of Linux.
    #[must_use]
    pub fn new(part: &Part, version: &str, linux: &Output, quire: &Output) -> Table {
        let program = part.name();
        let kept = |output: &'_ Output| -> Vec<Row> {
            output.rows.iter().filter(|row| is_of_both(part, &row.name)).cloned().collect()
        };
        let (ours, theirs) = (kept(quire), kept(linux));
        let find = |rows: &[Row], name: &str| rows.iter().find(|row| row.name == name).cloned();
        let first = theirs.iter().map(|row| (Some(row.clone()), find(&ours, &row.name)));
        let rest =
            ours.iter().filter(|row| find(&theirs, &row.name).is_none()).map(|row| (None, Some(row.clone())));
        let figures = first
            .chain(rest)
            .filter_map(|(linux, quire)| Figure::new(program, linux.as_ref(), quire.as_ref()));
        let complete = linux.end == End::Complete && quire.end == End::Complete;
        Table { program, linux: format!("Linux {version}"), figures: figures.collect(), complete }
    }

    /// The geometric mean of the ratios of times; none where there is no ratio.
    #[must_use]
    pub fn mean(&self) -> Option<f64> {
        let times = self.figures.iter().filter(|figure| figure.is_time());
        let pairs: Vec<_> = times.filter_map(|figure| figure.linux.zip(figure.quire)).collect();
        let logs: Vec<_> = pairs
            .iter()
            .filter(|(l, q)| *l > 0 && *q > 0)
            .map(|&(l, q)| (q as f64 / l as f64).ln())
            .collect();
        (!logs.is_empty()).then(|| (logs.iter().sum::<f64>() / logs.len() as f64).exp())
    }

    /// Rows of times in which Quire needs less than Linux, as much, and more.
    #[must_use]
    pub fn cheaper_equal_dearer(&self) -> [usize; 3] {
        let times = self.figures.iter().filter(|figure| figure.is_time());
        let pairs: Vec<_> = times.filter_map(|figure| figure.linux.zip(figure.quire)).collect();
        let count = |test: fn(i64, i64) -> bool| pairs.iter().filter(|&&(l, q)| test(q, l)).count();
        [count(|q, l| q < l), count(|q, l| q == l), count(|q, l| q > l)]
    }

    /// Rows that one of both has not.
    #[must_use]
    pub fn one_sided(&self) -> usize {
        self.figures.iter().filter(|figure| figure.linux.is_none() || figure.quire.is_none()).count()
    }
}

/// Whether a row is about something that both have.
fn is_of_both(part: &Part, name: &str) -> bool {
    let parts: Vec<_> = name.split('.').collect();
    match part {
        Part::Mmbench(_) => name != "cntfrq",
        Part::Workload(_) => {
            parts.len() == 3 && WORK_POLICIES.contains(&parts[0]) && OF_A_WORKLOAD.contains(&parts[2])
        }
        Part::Thpfork { .. } => parts.len() == 2,
        Part::Programs(_) => false,
    }
}

/// On what it was measured, and the rows of all tables, one object a line.
///
/// # Panics
/// Never: every field of a figure can be written.
#[must_use]
pub fn json(machine: &serde_json::Value, tables: &[Table]) -> String {
    let figures = tables.iter().flat_map(|table| &table.figures);
    let objects =
        figures.map(|figure| serde_json::to_string(figure).expect("figures are numbers and strings"));
    format!("{{\"machine\":{machine},\n\"figures\":[\n{}\n]}}\n", objects.collect::<Vec<_>>().join(",\n"))
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let widest = self.figures.iter().map(|figure| figure.name.len()).max().unwrap_or(0).max(32);
        writeln!(f, "{:<widest$} {:>14} {:>14} {:>8}", self.program, self.linux, "Quire", "ratio")?;
        for figure in &self.figures {
            let cell = |value: Option<i64>, error: &Option<String>| {
                value.map_or_else(|| error.clone().unwrap_or_default(), |value| value.to_string())
            };
            let (linux, quire) =
                (cell(figure.linux, &figure.linux_error), cell(figure.quire, &figure.quire_error));
            write!(f, "{:<widest$} {linux:>14} {quire:>14}", figure.name)?;
            match figure.ratio {
                Some(ratio) => write!(f, " {ratio:>8.3}")?,
                None => write!(f, " {:>8}", "-")?,
            }
            let unit = if figure.is_time() { "" } else { figure.unit.as_str() };
            writeln!(f, "{}{unit}", if unit.is_empty() { "" } else { " " })?;
        }
        let [cheaper, equal, dearer] = self.cheaper_equal_dearer();
        write!(f, "{}: {} rows", self.program, self.figures.len())?;
        if let Some(mean) = self.mean() {
            write!(f, "; Quire is cheaper in {cheaper}, as dear in {equal}, dearer in {dearer}")?;
            write!(f, "; geometric mean of the ratios of times {mean:.3}")?;
        }
        if self.one_sided() > 0 {
            write!(f, "; {} on one side only", self.one_sided())?;
        }
        writeln!(f, "{}", if self.complete { "" } else { "; it did NOT come to its end on both" })
    }
}

/// How figures of Linux compare with those that are stored of the same version and arguments.
#[derive(Debug, PartialEq)]
pub struct Stored {
    /// Rows that are within [`PER_CENT`] (children: one) of what is stored.
    pub equal: usize,
    /// Rows that are not: the name, what was measured, what is stored.
    pub differ: Vec<(String, i64, i64)>,
}

impl Stored {
    /// Holds a table against what `peers` have, by what `column` takes of a row.
    #[must_use]
    pub fn new(table: &Table, peers: &Peers, column: fn(Linux) -> Option<i64>) -> Stored {
        let mut stored = Stored { equal: 0, differ: Vec::new() };
        for figure in &table.figures {
            let known = peers.linux(table.program, &figure.name).and_then(column);
            let Some((measured, known)) = figure.linux.zip(known) else { continue };
            let most = if figure.is_time() { known.unsigned_abs() * PER_CENT / 100 } else { 1 };
            if measured.abs_diff(known) <= most.max(u64::from(!figure.is_time())) {
                stored.equal += 1;
            } else {
                stored.differ.push((figure.name.clone(), measured, known));
            }
        }
        stored
    }
}

impl fmt::Display for Stored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = self.equal + self.differ.len();
        writeln!(
            f,
            "stored figures of this Linux: {} of {all} rows are as stored, within {PER_CENT} % or a child",
            self.equal
        )?;
        for (name, measured, known) in &self.differ {
            let per_cent = (*measured as f64 / *known as f64 - 1.0) * 100.0;
            writeln!(f, "  {name:<32} {measured:>12}, stored {known:>12} ({per_cent:+.1} %)")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::plan::plan;
    use super::*;
    use crate::bench::rows::read;

    fn table(part: &str, suite: &str, linux: &str, quire: &str) -> Table {
        let output = |rows: &str| read(&format!("bench: begin {suite}\n{rows}bench: end {suite}\n"), suite);
        Table::new(&plan(part).unwrap()[0], "7.2.12", &output(linux), &output(quire))
    }

    const LINUX: &str = "cntfrq 1000000000 Hz\nbase_counter 2 ns\nfault_4k_write 3000 ns\nfault_4k_write.min 2893 ns\n\
        madv_collapse_2m -22 errno\nonly_linux 5 ns\nsyscall_getpid 100 ns\n";
    const QUIRE: &str = "cntfrq 1000000000 Hz\nbase_counter 2 ns\nfault_4k_write 950 ns\nfault_4k_write.min 901 ns\n\
        madv_collapse_2m 7 ns\nsyscall_getpid 400 ns\nonly_quire 5 ns\n";

    /// The objects have program, name, unit, both figures and the ratio, and say why one is missing.
    #[test]
    fn json_objects() {
        let machine = serde_json::json!({"linux": "7.2.12"});
        let text = json(&machine, &[table("mmbench", "mmbench", LINUX, QUIRE)]);
        let object: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(object["machine"], machine);
        let list = &object["figures"];
        let fault = serde_json::json!({
            "program": "mmbench", "name": "fault_4k_write", "unit": "ns", "linux": 2893, "quire": 901, "ratio": 0.3114
        });
        assert_eq!(list[1], fault);
        assert_eq!(
            (list[2]["linux_error"].as_str(), list[2]["quire"].as_i64()),
            (Some("-22 errno"), Some(7))
        );
        assert_eq!((list[3]["quire_error"].as_str(), list[3].get("ratio")), (Some("absent"), None));
        assert_eq!(list.as_array().unwrap().len(), 6);
    }

    /// Cheaper, equal and dearer rows are counted, the mean is geometric, and a row of one side counts in neither.
    #[test]
    fn the_summary() {
        let table = table("mmbench", "mmbench", LINUX, QUIRE);
        assert_eq!((table.cheaper_equal_dearer(), table.one_sided()), ([1, 1, 1], 3));
        let mean = (901.0_f64 / 2893.0 * 4.0).cbrt();
        assert!((table.mean().unwrap() - mean).abs() < 1e-9);
        let text = table.to_string();
        assert!(text.contains("mmbench: 6 rows; Quire is cheaper in 1, as dear in 1, dearer in 1"), "{text}");
        assert!(
            text.contains("; 3 on one side only\n") && text.contains("-22 errno              7        -"),
            "{text}"
        );
        assert!(text.starts_with("mmbench ") && text.contains("Linux 7.2.12"), "{text}");
    }

    /// Of a workload counts what Linux has too, under the policies that both have; of the fork test the children.
    #[test]
    fn rows_of_both() {
        let rows = "never.dense.p50 10 ns\nnever.dense.reserved 0 KiB\nnever.dense.res_pages_filled 0 count\n\
            reserve.dense.p50 3 ns\nalways.dense.huge 16 count\n";
        let names = |table: Table| table.figures.into_iter().map(|figure| figure.name).collect::<Vec<_>>();
        assert_eq!(names(table("workload", "thp", rows, rows)), ["never.dense.p50", "always.dense.huge"]);
        let rows = "always.1 17 children\nalways.1.reserved 9 regions\n";
        let table = table("thpfork", "thpfork", rows, rows);
        assert_eq!((table.mean(), table.figures[0].ratio), (None, Some(1.0)));
        assert!(table.to_string().contains("    1.000 children\n"), "{table}");
        assert_eq!(names(table), ["always.1"]);
    }

    /// A side that broke off is said to have.
    #[test]
    fn broken_off() {
        let whole = read("bench: begin mmbench\na 1 ns\nbench: end mmbench\n", "mmbench");
        let broken = read("bench: begin mmbench\na 1 ns\n", "mmbench");
        let table = Table::new(&plan("mmbench").unwrap()[0], "6.1", &broken, &whole);
        assert!(!table.complete && table.to_string().contains("did NOT come to its end"));
    }

    /// Three per cent either way are the same figure; children may be off by one.
    #[test]
    fn stored_figures() {
        let peers = Peers::load().unwrap();
        let (lean, default) =
            (peers.column("7.2.12", super::super::script::LEAN), peers.column("7.2.12", "mitigations=off"));
        let rows =
            "syscall_getpid 349 ns\nfault_4k_write 2807 ns\nmmap_64m_empty 4400 ns\nno_such_row 1 ns\n";
        let measured = table("mmbench", "mmbench", rows, rows);
        let stored = Stored::new(&measured, &peers, lean.unwrap());
        assert_eq!((stored.equal, stored.differ), (1 + 1, vec![("mmap_64m_empty".to_owned(), 4400, 4271)]));
        assert_eq!(Stored::new(&measured, &peers, default.unwrap()).equal, 2);
        let children = table("thpfork", "thpfork", "always.1 16 children\nnever.1 3578 children\n", "");
        let stored = Stored::new(&children, &peers, lean.unwrap());
        assert_eq!((stored.equal, stored.differ.len()), (1, 1));
        assert!(stored.to_string().contains("1 of 2 rows are as stored"), "{stored}");
        assert!(peers.column("7.2.13", super::super::script::LEAN).is_none());
        assert!(peers.column("7.2.12", "").is_none());
    }
}
