//! Rows and peers → table, JSON and CSV.

use super::commits;
use super::experiment::{Chosen, Layout};
use super::peers::{Linux, Peers};
use super::pivot;
use super::rows::{End, Output, Row};
use crate::error::Error;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;

/// What stands below a table with Linux in it.
const LEGEND: &str =
    "guest instructions; Linux as configured lean; ratio to 7.2; goals: tests/peers/goals.toml";

/// Whether the machine is the one that Linux was measured on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Machine {
    /// It is: ratios mean something.
    OfThePeers,
    /// It is not: there are none.
    Another,
}

/// One object of the JSON list.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq)]
pub struct Figure {
    /// What was measured.
    pub name: String,
    /// `ns` is one guest instruction under `make bench`; `errno` and `none` are failures.
    pub unit: String,
    /// The figure: the cheapest operation of a series.
    pub value: i64,
    /// The mean of that series.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mean: Option<i64>,
    /// What Linux needs.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub linux: Option<LinuxFigures>,
    /// The most that it shall cost.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub goal: Option<i64>,
    /// Whether it costs no more than that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub met: Option<bool>,
}

/// The figures of Linux in an object; `ratio` is ours to 7.2's, to four places.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq)]
pub struct LinuxFigures {
    /// Linux 6.1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub linux_6_1: Option<i64>,
    /// Linux 7.2.
    pub linux_7_2: i64,
    /// Linux 7.2 without mitigations only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub linux_7_2_default: Option<i64>,
    /// Where the machine is the one that Linux was measured on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ratio: Option<f64>,
}

/// What is said of one experiment.
#[derive(Debug)]
pub struct Report {
    name: String,
    layout: Layout,
    /// The rows, in the order in which they came.
    pub figures: Vec<Figure>,
    /// Rows of Linux that were not printed.
    pub absent: Vec<String>,
    remarks: Vec<String>,
    /// How far it came.
    pub end: End,
}

impl Report {
    /// Holds what was printed against the peers. Rows count as absent only if all of the experiment was asked for.
    #[must_use]
    pub fn new(chosen: &Chosen, output: Output, peers: &Peers, machine: Machine) -> Report {
        let name = chosen.name();
        let values: BTreeMap<_, _> = output.rows.iter().map(|row| (row.name.clone(), row.value)).collect();
        let value = |name: &str| values.get(name).copied();
        let figures: Vec<_> =
            output.rows.into_iter().map(|row| figure(name, row, peers, machine, value)).collect();
        let absent = peers
            .names(name)
            .filter(|row| chosen.is_whole() && !figures.iter().any(|figure| figure.name == *row))
            .map(str::to_owned)
            .collect();
        let layout = chosen.experiment.layout();
        Report { name: name.to_owned(), layout, figures, absent, remarks: output.remarks, end: output.end }
    }

    /// The JSON list, one object a line, of these commits.
    ///
    /// # Panics
    /// Never: every field of a figure can be written.
    #[must_use]
    pub fn json(&self, commits: &[String]) -> String {
        let object = |figure| serde_json::to_string(figure).expect("figures are numbers and strings");
        commits::list(commits, self.figures.iter().map(object))
    }

    /// The same as CSV, below a head: what a figure has not is empty.
    ///
    /// # Errors
    /// [`Error::Io`]; none that is known.
    pub fn csv(&self) -> Result<Vec<u8>, Error> {
        let mut csv = csv::Writer::from_writer(Vec::new());
        csv.write_record([
            "name",
            "unit",
            "value",
            "mean",
            "linux_6_1",
            "linux_7_2",
            "linux_7_2_default",
            "goal",
        ])
        .map_err(std::io::Error::from)?;
        for figure in &self.figures {
            let linux = figure.linux.as_ref();
            let number = |number: Option<i64>| number.map_or(String::new(), |number| number.to_string());
            csv.write_record([
                figure.name.clone(),
                figure.unit.clone(),
                figure.value.to_string(),
                number(figure.mean),
                number(linux.and_then(|linux| linux.linux_6_1)),
                number(linux.map(|linux| linux.linux_7_2)),
                number(linux.and_then(|linux| linux.linux_7_2_default)),
                number(figure.goal),
            ])
            .map_err(std::io::Error::from)?;
        }
        csv.into_inner().map_err(|error| error.into_error().into())
    }

    /// Rows that say that an operation failed.
    #[must_use]
    pub fn errors(&self) -> usize {
        self.figures.iter().filter(|figure| is_error(figure)).count()
    }

    /// Rows whose goal is met, and rows whose goal is missed.
    #[must_use]
    pub fn goals(&self) -> (usize, usize) {
        let count = |met| self.figures.iter().filter(|figure| figure.met == Some(met)).count();
        (count(true), count(false))
    }
}

/// Whether it says that an operation failed.
#[must_use]
pub fn is_error(figure: &Figure) -> bool {
    rows::is_failure(&figure.unit)
}

fn figure(
    experiment: &str,
    row: Row,
    peers: &Peers,
    machine: Machine,
    others: impl Fn(&str) -> Option<i64>,
) -> Figure {
    let comparable = machine == Machine::OfThePeers && !row.is_error();
    let of_linux = |linux: Linux| LinuxFigures {
        linux_6_1: linux.linux_6_1,
        linux_7_2: linux.linux_7_2,
        linux_7_2_default: linux.linux_7_2_default,
        ratio: comparable.then(|| (row.value as f64 / linux.linux_7_2 as f64 * 10_000.0).round() / 10_000.0),
    };
    let linux = peers.linux(experiment, &row.name).map(of_linux);
    let goal = peers.goal(experiment, &row.name, others);
    let met = goal.filter(|_| comparable).map(|goal| row.value <= goal);
    Figure { name: row.name, unit: row.unit, value: row.value, mean: row.mean, linux, goal, met }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let compared = self.figures.iter().any(|figure| figure.linux.is_some());
        let in_tables = |figure: &Figure| self.layout != Layout::List && pivot::takes(figure);
        if self.figures.iter().all(in_tables) {
            writeln!(f, "{}", self.name)?;
        } else if compared {
            let heads = ["Quire", "Linux 6.1", "Linux 7.2", "ratio", "goal"];
            write!(f, "{:<32}", self.name)?;
            heads.iter().try_for_each(|head| write!(f, " {head:>11}"))?;
            writeln!(f)?;
        } else {
            writeln!(f, "{:<32} {:>11} {:>11}", self.name, "least", "mean")?;
        }
        for figure in self.figures.iter().filter(|figure| !in_tables(figure)) {
            write_row(f, figure, compared)?;
        }
        if self.layout != Layout::List {
            pivot::write(f, &self.figures, self.layout)?;
            for figure in self.figures.iter().filter(|figure| pivot::takes(figure)) {
                if let (Some(goal), Some(met)) = (figure.goal, figure.met) {
                    let word = if met { "met" } else { "MISSED" };
                    writeln!(f, "{:<56} {:>11} {goal:>11} {word}", figure.name, figure.value)?;
                }
            }
        }
        for name in &self.absent {
            writeln!(f, "{name:<32} {:>11}", "absent")?;
        }
        for remark in &self.remarks {
            writeln!(f, "  | {remark}")?;
        }
        let (met, missed) = self.goals();
        if compared {
            writeln!(f, "  | {LEGEND}")?;
        }
        write!(f, "{}: {} rows", self.name, self.figures.len())?;
        if met + missed > 0 {
            write!(f, ", {met} goals met, {missed} missed")?;
        }
        write!(f, ", {} errors, {} absent", self.errors(), self.absent.len())?;
        let end = if self.end == End::Complete { "" } else { "; it did NOT come to its end" };
        writeln!(f, "{end}")
    }
}

fn write_row(f: &mut fmt::Formatter<'_>, figure: &Figure, compared: bool) -> fmt::Result {
    write!(f, "{:<32} {:>11}", figure.name, figure.value)?;
    if is_error(figure) || (figure.unit != "ns" && figure.mean.is_none()) {
        write!(f, " {}", figure.unit)?;
    }
    match &figure.linux {
        Some(linux) if !is_error(figure) => {
            let of_6_1 = linux.linux_6_1.map_or("-".to_owned(), |figure| figure.to_string());
            write!(f, " {of_6_1:>11} {:>11}", linux.linux_7_2)?;
            if let Some(ratio) = linux.ratio {
                write!(f, " {ratio:>11.3}")?;
            }
            match (figure.goal, figure.met) {
                (Some(goal), Some(true)) => write!(f, " {goal:>11} met")?,
                (Some(goal), Some(false)) => write!(f, " {goal:>11} MISSED")?,
                _ => {}
            }
        }
        _ => {
            if let Some(mean) = figure.mean.filter(|_| !compared) {
                write!(f, " {mean:>11}")?;
            }
        }
    }
    writeln!(f)
}

#[cfg(test)]
mod tests {
    use super::super::experiment::{all, choose};
    use super::super::rows::read;
    use super::*;

    const LOG: &str = "bench: begin mmbench\ncntfrq 1000000000 Hz\nbase_counter 2 ns\nbase_counter.min 2 ns\n\
        syscall_getpid 140 ns\nsyscall_getpid.min 113 ns\nfault_4k_write 1000 ns\nfault_4k_write.min 901 ns\n\
        fork_4k_64m -12 errno\nmadv_collapse_2m -22 errno\nbench: end mmbench\n";

    fn report(choice: &str, machine: Machine) -> Report {
        Report::new(
            &choose(choice, &all().unwrap()).unwrap()[0],
            read(LOG, "mmbench"),
            &Peers::load().unwrap(),
            machine,
        )
    }

    /// The JSON is a list of objects with name, unit and value, and Linux and the ratio where there is one.
    #[test]
    fn json_objects() {
        let list: serde_json::Value =
            serde_json::from_str(&report("mmbench", Machine::OfThePeers).json(&["c".to_owned()])).unwrap();
        let fault = serde_json::json!({
            "name": "fault_4k_write", "unit": "ns", "value": 901, "mean": 1000, "linux_6_1": 2087,
            "linux_7_2": 2893, "linux_7_2_default": 3415, "ratio": 0.3114, "goal": 900, "met": false
        });
        assert_eq!(list[0], serde_json::json!({ "commits": ["c"] }));
        assert_eq!(list[4], fault);
        assert_eq!(list[1], serde_json::json!({ "name": "cntfrq", "unit": "Hz", "value": 1_000_000_000 }));
        assert_eq!(list[6]["value"], -22);
        assert_eq!(list[6]["linux_7_2"], 1_302_254);
        assert!(list[6].get("ratio").is_none() && list[6].get("met").is_none());
    }

    /// The CSV has the same figures below its head.
    #[test]
    fn csv_rows() {
        let csv = report("mmbench", Machine::OfThePeers).csv().unwrap();
        let text = String::from_utf8(csv).unwrap();
        let mut lines = text.lines();
        assert_eq!(lines.next(), Some("name,unit,value,mean,linux_6_1,linux_7_2,linux_7_2_default,goal"));
        assert_eq!(lines.next(), Some("cntfrq,Hz,1000000000,,,,,"));
        assert_eq!(lines.nth(2), Some("fault_4k_write,ns,901,1000,2087,2893,3415,900"));
    }

    /// Errors and absent rows are shown and counted; a part of an experiment misses nothing.
    #[test]
    fn errors_are_shown() {
        let whole = report("mmbench", Machine::OfThePeers);
        assert_eq!((whole.errors(), whole.absent.len(), whole.goals()), (2, 67 - 4, (1, 1)));
        let text = whole.to_string();
        assert!(text.contains("-22 errno\n") && text.contains("absent\n"), "{text}");
        assert!(text.ends_with("mmbench: 6 rows, 1 goals met, 1 missed, 2 errors, 63 absent\n"), "{text}");
        assert!(report("mmbench:group=fault", Machine::OfThePeers).absent.is_empty());
    }

    /// On another machine nothing is held against Linux.
    #[test]
    fn another_machine_has_no_ratio() {
        let other = report("mmbench", Machine::Another);
        assert_eq!(other.goals(), (0, 0));
        assert!(!other.json(&[]).contains("ratio"));
    }

    /// An experiment that broke off is said to have.
    #[test]
    fn broken_experiments_are_named() {
        let output = read("bench: begin kernel\nstop_machine 7 ns\n", "kernel");
        let kernel = &choose("kernel", &all().unwrap()).unwrap()[0];
        let report = Report::new(kernel, output, &Peers::load().unwrap(), Machine::OfThePeers);
        assert!(report.to_string().contains("did NOT come to its end"));
        assert_eq!(report.end, End::Broken);
    }
}
