//! A reference that nothing is done with is told of.
#![deny(unused_must_use)]

use arch::Order;
use mm::Mm;
use mm::error::OutOfMemory;
use mm::page::PageKind;

fn lose(mm: &Mm) -> Result<(), OutOfMemory> {
    mm.alloc_pages(Order::PAGE, PageKind::Kernel)?;
    mm.alloc_table()?;
    Ok(())
}

fn main() {}
