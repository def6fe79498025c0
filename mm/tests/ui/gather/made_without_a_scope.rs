//! There is no gather but in the closure of `Mm::gather`: it cannot be made up.

use mm::Mm;
use mm::pgtable::{FlushTag, Gather};

fn make_up(mm: &Mm) {
    let _ = Gather::new(mm, FlushTag::Kernel);
    let _ = Gather { mm, tag: FlushTag::Kernel };
}

fn main() {}
