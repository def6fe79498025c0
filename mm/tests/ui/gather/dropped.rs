//! A gather cannot be dropped unfinished: it cannot be moved out of the reference.

use mm::Mm;
use mm::pgtable::FlushTag;

fn drop_it(mm: &Mm) {
    mm.gather(FlushTag::Kernel, |gather| drop(*gather));
}

fn main() {}
