//! A loose table cannot be made of an address.

use arch::PhysAddr;
use mm::Mm;
use mm::pgtable::LooseTable;

fn make_up(mm: &Mm, address: PhysAddr) {
    mm.free_table(LooseTable::from_flushed(address));
    mm.free_table(LooseTable(address));
}

fn main() {}
