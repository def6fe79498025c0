//! A gather cannot be kept beyond its closure, unfinished.

use mm::Mm;
use mm::pgtable::FlushTag;

fn keep(mm: &Mm) {
    let mut kept = None;
    mm.gather(FlushTag::Kernel, |gather| kept = Some(gather));
    drop(kept);
}

fn main() {}
