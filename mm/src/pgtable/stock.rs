//! Tables allocated before the page-table lock is taken, as nothing may be allocated under it.
#![forbid(unsafe_code)]

use super::table::LooseTable;
use crate::Mm;
use crate::error::OutOfMemory;

/// Most tables that one address can lack: levels 1, 2 and 3.
const MOST: usize = 3;

/// Up to three zeroed tables. What is left goes back when the stock is dropped.
pub struct TableStock<'m> {
    mm: &'m Mm,
    tables: [Option<LooseTable>; MOST],
}

impl<'m> TableStock<'m> {
    /// `n` tables, 0..=3.
    ///
    /// # Errors
    /// [`OutOfMemory`]; what was taken is given back.
    pub fn new(mm: &'m Mm, n: usize) -> Result<Self, OutOfMemory> {
        let mut stock = TableStock { mm, tables: [const { None }; MOST] };
        for place in &mut stock.tables[..n] {
            *place = Some(mm.alloc_table()?);
        }
        Ok(stock)
    }

    /// One table, zeroed, no longer owned by the stock.
    pub fn take(&mut self) -> Option<LooseTable> {
        self.tables.iter_mut().find_map(Option::take)
    }
}

impl Drop for TableStock<'_> {
    fn drop(&mut self) {
        while let Some(table) = self.take() {
            self.mm.free_table(table);
        }
    }
}
