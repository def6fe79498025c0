//! What an experiment prints → rows. What a figure is, the crate `rows` says; the other lines that mean something:
//!
//! | line | meaning |
//! |---|---|
//! | `bench: begin <experiment>` | its rows follow |
//! | `progress: ...` | how far it is; no row, and no remark |
//! | `bench: end <experiment>` | it is complete |
//! | `bench: broken <experiment>` | it is not |
//!
//! Other lines between begin and end are kept as remarks.

use rows::{Figure, Next};

/// One row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// What was measured, without `.min`.
    pub name: String,
    /// The unit; `errno` and `none` say that there is no figure.
    pub unit: String,
    /// The figure: the cheapest operation where it is said.
    pub value: i64,
    /// The mean of the series whose cheapest operation is `value`.
    pub mean: Option<i64>,
}

impl Row {
    /// Whether the operation failed.
    #[must_use]
    pub fn is_error(&self) -> bool {
        rows::is_failure(&self.unit)
    }
}

/// How far an experiment came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// To its end.
    Complete,
    /// It broke off, or the machine did.
    Broken,
}

/// What one experiment printed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    /// The rows, in the order in which they came.
    pub rows: Vec<Row>,
    /// Lines that are no rows.
    pub remarks: Vec<String>,
    /// How far it came.
    pub end: End,
}

impl Output {
    /// Adds what another program printed of the same experiment. It came to its end if both did.
    pub fn append(&mut self, more: Output) {
        more.rows.into_iter().for_each(|row| add(self, row));
        self.remarks.extend(more.remarks);
        if more.end == End::Broken {
            self.end = End::Broken;
        }
    }
}

/// Reads what the experiment `name` printed into `log`.
#[must_use]
pub fn read(log: &str, name: &str) -> Output {
    let mut output = Output { rows: Vec::new(), remarks: Vec::new(), end: End::Broken };
    let mut next = None;
    let (begin, end, broken) = marks(name);
    let lines = log.lines().map(str::trim).skip_while(|line| *line != begin).skip(1);
    for line in lines.filter(|line| !line.is_empty() && !line.starts_with("progress: ")) {
        if line == end {
            output.end = End::Complete;
            break;
        }
        if line == broken {
            break;
        }
        if let Some(announced) = Next::read(line) {
            next = Some(announced);
        } else if let Some(figure) = next.and_then(|next| next.find(line)) {
            next = None;
            take(&mut output, figure);
        } else {
            match Figure::read(line) {
                Some(figure) => take(&mut output, figure),
                None => output.remarks.push(line.to_owned()),
            }
        }
    }
    output
}

fn marks(name: &str) -> (String, String, String) {
    (format!("bench: begin {name}"), format!("bench: end {name}"), format!("bench: broken {name}"))
}

/// Adds a figure; the least of a series becomes the figure of its row, whose own is the mean then.
fn take(output: &mut Output, figure: Figure<'_>) {
    let is_series = |row: &&mut Row| {
        let series = Figure { name: &row.name, value: row.value, unit: &row.unit };
        figure.is_least_of(series, row.mean.is_some())
    };
    if let Some(series) = output.rows.iter_mut().rev().find(is_series) {
        series.mean = Some(std::mem::replace(&mut series.value, figure.value));
        return;
    }
    let Figure { name, value, unit } = figure;
    add(output, Row { name: name.to_owned(), unit: unit.to_owned(), value, mean: None });
}

/// Adds a row, or a remark that there is one of its name.
fn add(output: &mut Output, row: Row) {
    if output.rows.iter().any(|known| known.name == row.name) {
        output.remarks.push(format!("a second row `{}`: {} {}", row.name, row.value, row.unit));
        return;
    }
    output.rows.push(row);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(name: &str, unit: &str, value: i64, mean: Option<i64>) -> Row {
        Row { name: name.to_owned(), unit: unit.to_owned(), value, mean }
    }

    /// Rows of two programs are one output; that is whole if both are.
    #[test]
    fn rows_of_two_programs() {
        let of = |rows: &str, end| read(&format!("bench: begin x\n{rows}bench: {end} x\n"), "x");
        let mut output = of("a 1 ns\n", "end");
        output.append(of("a.lines 2 lines\na 3 ns\n", "end"));
        assert_eq!(output.rows, [row("a", "ns", 1, None), row("a.lines", "lines", 2, None)]);
        assert_eq!((output.remarks.len(), output.end), (1, End::Complete));
        output.append(of("b 1 ns\n", "broken"));
        assert_eq!((output.rows.len(), output.end), (3, End::Broken));
    }

    /// A series is one row with the cheapest operation as its figure, an error is a row, other lines are remarks.
    #[test]
    fn a_whole_output() {
        let log = "Quire 0.1\nfault_4k_write 1 ns\nbench: begin mmbench\ncntfrq 1000000000 Hz\n\
            fault_4k_write 951 ns\r\nfault_4k_write.min 890 ns\n\nfork -12 errno\nmprotect_ro_4k_64m -1 none\n\
            progress: 1 of 2: fork\nwarning: no memory\nmap_atomics_2m 512 atomics\nbench: end mmbench\nlater 1 ns\n";
        let output = read(log, "mmbench");
        assert_eq!(
            output.rows,
            [
                row("cntfrq", "Hz", 1_000_000_000, None),
                row("fault_4k_write", "ns", 890, Some(951)),
                row("fork", "errno", -12, None),
                row("mprotect_ro_4k_64m", "none", -1, None),
                row("map_atomics_2m", "atomics", 512, None),
            ]
        );
        assert_eq!(output.remarks, ["warning: no memory"]);
        assert_eq!(output.end, End::Complete);
        let errors: Vec<_> = output.rows.iter().filter(|row| row.is_error()).map(|row| &row.name).collect();
        assert_eq!(errors, ["fork", "mprotect_ro_4k_64m"]);
    }

    /// Without its end it is broken, whatever it has printed: power that goes off, a kill, another one's end.
    #[test]
    fn a_broken_output() {
        for end in ["", "bench: broken x\n", "bench: end y\n"] {
            let output = read(&format!("bench: begin x\na 1 ns\n{end}"), "x");
            assert_eq!(output.end, End::Broken, "{end}");
            assert_eq!(output.rows, [row("a", "ns", 1, None)]);
        }
        assert_eq!(read("a 1 ns\nbench: end x\n", "x").end, End::Broken);
    }

    /// A figure that was announced is found in a sentence, once.
    #[test]
    fn an_announced_figure() {
        let log = "bench: begin x\nbench: next never.1 child children\nmib=4\np mib=4 child=17 killed\nchild=18\n\
            bench: next never.2 child children\nbench: next never.3 child children\nchild=-3\nbench: end x\n";
        let output = read(log, "x");
        assert_eq!(output.remarks, ["mib=4", "child=18"]);
        let rows = [("never.1", 17), ("never.3", -3)].map(|(name, value)| row(name, "children", value, None));
        assert_eq!(output.rows, rows);
    }

    /// A name that comes twice keeps its first row, and the second is not lost; a `.min` alone is a row of its own.
    #[test]
    fn names_are_told_apart() {
        let output =
            read("bench: begin x\na 1 ns\na 2 ns\nb.min 3 ns\na.min 1 ns\na.min 0 ns\nbench: end x", "x");
        assert_eq!(
            output.rows,
            [row("a", "ns", 1, Some(1)), row("b.min", "ns", 3, None), row("a.min", "ns", 0, None)]
        );
        assert_eq!(output.remarks, ["a second row `a`: 2 ns"]);
    }
}
