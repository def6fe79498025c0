//! A tree outside its lock cannot be made up, and with it an entry that no lock protects.

use arch::PhysAddr;
use mm::pgtable::{LooseTable, PtRoot};

fn make_up(root: PhysAddr, table: LooseTable) {
    let _ = PtRoot { root };
    let _ = PtRoot::built(root);
    let _ = PtRoot::new(table);
}

fn main() {}
