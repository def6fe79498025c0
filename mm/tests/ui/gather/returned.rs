//! Nor can it be the closure's result.

use mm::Mm;
use mm::pgtable::FlushTag;

fn leave(mm: &Mm) {
    let gather = mm.gather(FlushTag::Kernel, |gather| gather);
    drop(gather);
}

fn main() {}
