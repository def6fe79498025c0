//! Tables allocated before the page-table lock is taken, as nothing may be allocated under it.
#![forbid(unsafe_code)]

use allocator_api2::vec::Vec;

use super::table::LooseTable;
use crate::Mm;
use crate::error::OutOfMemory;
use crate::kalloc::KAlloc;

/// Most tables that one address can lack: levels 1, 2 and 3.
const MOST: usize = 3;

/// Zeroed tables. What is left goes back when the stock is dropped.
pub struct TableStock<'m> {
    mm: &'m Mm,
    tables: [Option<LooseTable>; MOST],
    /// Those of a stock for more than one address.
    more: Vec<LooseTable, KAlloc>,
}

impl<'m> TableStock<'m> {
    /// `n` tables, 0..=3.
    ///
    /// # Errors
    /// [`OutOfMemory`]; what was taken is given back.
    #[inline]
    pub fn new(mm: &'m Mm, n: usize) -> Result<Self, OutOfMemory> {
        let mut stock = TableStock { mm, tables: [const { None }; MOST], more: Vec::new_in(KAlloc) };
        for place in &mut stock.tables[..n] {
            *place = Some(mm.alloc_table()?);
        }
        Ok(stock)
    }

    /// `n` tables, as many as one likes, for what gives memory back itself: none is given back for them.
    ///
    /// # Errors
    /// [`OutOfMemory`]; what was taken is given back.
    pub fn kept(mm: &'m Mm, n: usize) -> Result<Self, OutOfMemory> {
        let mut stock = TableStock::new(mm, 0)?;
        for place in stock.tables.iter_mut().take(n) {
            *place = Some(mm.alloc_kept_table()?);
        }
        let more = n.saturating_sub(MOST);
        stock.more.try_reserve_exact(more).map_err(|_| OutOfMemory)?;
        for _ in 0..more {
            stock.more.push(mm.alloc_kept_table()?);
        }
        Ok(stock)
    }

    /// `n` tables, as many as one likes, for a range of addresses.
    ///
    /// # Errors
    /// [`OutOfMemory`]; what was taken is given back.
    pub fn for_range(mm: &'m Mm, n: usize) -> Result<Self, OutOfMemory> {
        if n <= MOST {
            return TableStock::new(mm, n);
        }
        let mut stock = TableStock::new(mm, 0)?;
        stock.more.try_reserve_exact(n).map_err(|_| OutOfMemory)?;
        for _ in 0..n {
            stock.more.push(mm.alloc_table()?);
        }
        Ok(stock)
    }

    /// One table, zeroed, no longer owned by the stock.
    pub fn take(&mut self) -> Option<LooseTable> {
        self.more.pop().or_else(|| self.tables.iter_mut().find_map(Option::take))
    }
}

impl Drop for TableStock<'_> {
    fn drop(&mut self) {
        while let Some(table) = self.take() {
            self.mm.free_table(table);
        }
    }
}
