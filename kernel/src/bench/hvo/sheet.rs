//! The figures of a part: as rows of a suite, as tables for people, as JSON.
#![forbid(unsafe_code)]

use allocator_api2::vec::Vec;
use arrayvec::ArrayString;
use core::fmt::{self, Write as _};
use mm::kalloc::KAlloc;

use crate::{print, println};

/// Narrowest column of a table.
const NARROW: usize = 9;
/// Figures that a table has room for.
const MAX_COLUMNS: usize = 20;

/// One figure.
struct Cell {
    table: ArrayString<24>,
    column: &'static str,
    value: u64,
    unit: &'static str,
}

/// The figures, in the order in which they came.
pub(super) struct Sheet(Vec<Cell, KAlloc>);

impl Sheet {
    pub(super) const fn new() -> Self {
        Sheet(Vec::new_in(KAlloc))
    }

    /// Notes a figure; `None` where memory is out, which is said.
    pub(super) fn add(
        &mut self,
        table: impl fmt::Display,
        column: &'static str,
        value: u64,
        unit: &'static str,
    ) -> Option<()> {
        let mut name = ArrayString::new();
        let fits = write!(name, "{table}").is_ok();
        debug_assert!(fits, "the name of a table is too long");
        if self.0.try_reserve(1).is_err() {
            println!("error: no memory for a figure");
            return None;
        }
        self.0.push(Cell { table: name, column, value, unit });
        Some(())
    }

    /// `<line>.<table>.<column> <value> <unit>`, one a line.
    pub(super) fn print_rows(&self, line: &str) {
        for Cell { table, column, value, unit } in &self.0 {
            println!("{line}.{table}.{column} {value} {unit}");
        }
    }

    /// The same as objects.
    pub(super) fn print_json(&self, line: &str) {
        for Cell { table, column, value, unit } in &self.0 {
            println!("{{\"name\":\"{line}.{table}.{column}\",\"unit\":\"{unit}\",\"value\":{value}}}");
        }
    }

    /// The figures of each table in a row of their own, below one head for all that have the same columns.
    pub(super) fn print_tables(&self, line: &str) {
        let mut head = Columns::new();
        for cells in self.0.chunk_by(|a, b| a.table == b.table) {
            let columns: Columns = cells.iter().map(|cell| cell.column).take(MAX_COLUMNS).collect();
            if columns != head {
                print!("    {line:<32}");
                columns.iter().for_each(|column| print!(" {column:>NARROW$}"));
                println!();
                head = columns;
            }
            let table = cells.first().map_or("", |cell| &cell.table);
            print!("    {table:<32}");
            for Cell { column, value, .. } in cells.iter().take(MAX_COLUMNS) {
                print!(" {value:>0$}", column.len().max(NARROW));
            }
            println!();
        }
    }
}

type Columns = arrayvec::ArrayVec<&'static str, MAX_COLUMNS>;
