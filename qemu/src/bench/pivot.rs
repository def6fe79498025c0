//! Rows `a.b.c` as tables: one for each `b`, a line for each `a`, a column for each `c`; as series one for each `a`, a line
//! for each `b`.

use super::experiment::Layout;
use super::report::Figure;
use std::fmt;

/// Narrowest column.
const NARROW: usize = 7;

/// Writes the tables of the figures whose names have three parts, in the order in which they came.
pub(super) fn write(f: &mut fmt::Formatter<'_>, figures: &[Figure], layout: Layout) -> fmt::Result {
    let cells: Vec<Cell<'_>> = figures.iter().filter_map(Cell::of).map(|cell| cell.turned(layout)).collect();
    for table in distinct(&cells, |cell| cell.table) {
        let cells: Vec<_> = cells.iter().filter(|cell| cell.table == table).copied().collect();
        write_table(f, table, &cells)?;
        writeln!(f)?;
    }
    Ok(())
}

/// Whether the figure stands in a table.
pub(super) fn takes(figure: &Figure) -> bool {
    Cell::of(figure).is_some()
}

#[derive(Clone, Copy)]
struct Cell<'f> {
    line: &'f str,
    table: &'f str,
    column: &'f str,
    figure: &'f Figure,
}

impl<'f> Cell<'f> {
    fn of(figure: &'f Figure) -> Option<Self> {
        let mut parts = figure.name.split('.');
        let (line, table, column) = (parts.next()?, parts.next()?, parts.next()?);
        parts.next().is_none().then_some(Cell { line, table, column, figure })
    }

    fn turned(self, layout: Layout) -> Self {
        match layout {
            Layout::Series => Cell { table: self.line, line: self.table, ..self },
            Layout::Tables | Layout::List => self,
        }
    }
}

/// What `of` says of the cells, each once.
fn distinct<'f>(cells: &[Cell<'f>], of: impl Fn(&Cell<'f>) -> &'f str) -> Vec<&'f str> {
    let mut seen = Vec::new();
    for word in cells.iter().map(of) {
        if !seen.contains(&word) {
            seen.push(word);
        }
    }
    seen
}

fn write_table(f: &mut fmt::Formatter<'_>, table: &str, cells: &[Cell<'_>]) -> fmt::Result {
    let (lines, columns) = (distinct(cells, |cell| cell.line), distinct(cells, |cell| cell.column));
    let first = lines.iter().map(|line| line.len()).max().unwrap_or(0).max(table.len());
    let value = |line: &str, column: &str| {
        let cell = cells.iter().find(|cell| cell.line == line && cell.column == column);
        cell.map_or("-".to_owned(), |cell| cell.figure.value.to_string())
    };
    let width = |column: &str| {
        let widest = lines.iter().map(|&line| value(line, column).len()).max().unwrap_or(0);
        widest.max(column.len()).max(NARROW)
    };
    write!(f, "{table:<first$}")?;
    for &column in &columns {
        write!(f, "  {column:>0$}", width(column))?;
    }
    writeln!(f)?;
    for line in &lines {
        write!(f, "{line:<first$}")?;
        for &column in &columns {
            write!(f, "  {:>1$}", value(line, column), width(column))?;
        }
        writeln!(f)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::experiment::{all, choose};
    use super::super::rows::read;
    use super::super::{peers::Peers, report::Machine, report::Report};

    /// As series, there is one for each first word.
    #[test]
    fn series() {
        let all = all().unwrap();
        let log = "bench: begin timeline\nnever.0.used 8 bytes\nnever.1.used 9 bytes\nfull.0.used 7 bytes\nbench: end timeline\n";
        let chosen = &choose("timeline", &all).unwrap()[0];
        let output = read(log, "timeline");
        let text = Report::new(chosen, output, &Peers::load().unwrap(), Machine::OfThePeers).to_string();
        assert!(
            text.contains("never     used\n0            8\n1            9\n\nfull     used\n0           7\n"),
            "{text}"
        );
    }

    /// One table for each middle word, with a dash where there is no figure; other rows stand above.
    #[test]
    fn tables() {
        let all = all().unwrap();
        let log = "bench: begin thp\npromote_512 9 ns\nnever.dense.p50 816 ns\nnever.dense.max 1000 ns\n\
            full.dense.p50 8 ns\nnever.sparse.p50 7 ns\nbench: end thp\n";
        let chosen = &choose("thp", &all).unwrap()[0];
        let report = Report::new(chosen, read(log, "thp"), &Peers::load().unwrap(), Machine::OfThePeers);
        let text = report.to_string();
        let table = "dense      p50      max\nnever      816     1000\nfull         8        -\n\n";
        assert!(text.contains(table), "{text}");
        assert!(text.contains("sparse      p50\nnever         7\n"), "{text}");
        assert!(text.find("promote_512").unwrap() < text.find("dense").unwrap());
    }
}
