//! A table that was linked belongs to the tree: it can be neither freed nor linked again.

use arch::Desc;
use mm::Mm;
use mm::pgtable::LooseTable;

fn link(mm: &Mm, table: LooseTable) {
    let _: Desc = table.link();
    mm.free_table(table);
}

fn main() {}
