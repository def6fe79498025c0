//! The file against the counters: a row for each point that counts.

use super::check::{Found, OfPoint};
use super::dump::Dump;
use std::fmt;

/// One point.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Its name.
    pub point: String,
    /// Its counter.
    pub counter: String,
    /// What the file has.
    pub found: OfPoint,
    /// By how much the counter went up.
    pub counted: u64,
}

impl Row {
    /// Whether both say the same.
    #[must_use]
    pub fn agrees(&self) -> bool {
        self.found.n == self.counted
    }
}

/// All points that count, and whether they can agree at all.
#[derive(Clone, Debug)]
pub struct Table {
    /// Those of which there is something in the file or in the counter.
    pub rows: Vec<Row>,
    /// Records that were lost.
    pub lost: u64,
    /// A filter held records back.
    pub filtered: bool,
}

impl Table {
    /// Of what a file has, and the dump that it was made of.
    #[must_use]
    pub fn new(found: &Found, dump: &Dump) -> Table {
        let row = |point: &super::dump::Point| {
            let found = found.get(&point.name).copied().unwrap_or_default();
            let row = Row {
                point: point.name.clone(),
                counter: point.counter.clone()?,
                found,
                counted: point.counted,
            };
            (row.counted != 0 || found != OfPoint::default()).then_some(row)
        };
        let rows = dump.points.values().filter_map(row).collect();
        Table { rows, lost: dump.lost(), filtered: dump.filtered }
    }
    /// Rows that do not agree.
    #[must_use]
    pub fn differing(&self) -> usize {
        self.rows.iter().filter(|row| !row.agrees()).count()
    }
    /// Whether no record was lost, and all rows agree, or cannot as records were filtered, which was asked for.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.lost == 0 && (self.differing() == 0 || self.filtered)
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "  {:<16} {:>8} {:>9} {:>9}  {:<26} {:>9}",
            "point", "slices", "instants", "n", "counter", "moved by"
        )?;
        for row in &self.rows {
            let OfPoint { slices, instants, n, .. } = row.found;
            let (point, counter, counted) = (&row.point, &row.counter, row.counted);
            let verdict = if row.agrees() { "" } else { "  differs" };
            writeln!(
                f,
                "  {point:<16} {slices:>8} {instants:>9} {n:>9}  {counter:<26} {counted:>9}{verdict}"
            )?;
        }
        let missing = match (self.lost, self.filtered) {
            (0, false) => String::new(),
            (0, true) => "; a filter was set, so they need not agree".to_owned(),
            (lost, _) => format!("; {lost} records were lost, so they need not agree (BUFFER= makes room)"),
        };
        write!(f, "  {} points, {} differ{missing}", self.rows.len(), self.differing())
    }
}

#[cfg(test)]
mod tests {
    use super::super::dump::tests::text;
    use super::*;

    /// What is missing in the file differs; it may where records were filtered, and not otherwise; none may
    /// be lost.
    #[test]
    fn what_differs() {
        let mut dump = Dump::read(&text(&[""])).unwrap();
        let fault = OfPoint { slices: 2, continued: 0, instants: 0, n: 2 };
        let mut found = Found::from([("fault".to_owned(), fault)]);
        let table = Table::new(&found, &dump);
        assert_eq!((table.rows.len(), table.differing(), table.is_sound()), (2, 1, false));
        assert!(table.to_string().contains("differs"), "{table}");
        found.insert("cow".to_owned(), OfPoint { instants: 1, n: 1, ..OfPoint::default() });
        assert!(Table::new(&found, &dump).is_sound());
        found.insert("cow".to_owned(), OfPoint { instants: 2, n: 2, ..OfPoint::default() });
        assert!(!Table::new(&found, &dump).is_sound());
        dump.filtered = true;
        assert!(Table::new(&found, &dump).is_sound());
        dump.cpus[0].1 = 1;
        assert!(!Table::new(&found, &dump).is_sound());
    }
}
