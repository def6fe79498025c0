//! Nor can it be forgotten.

use mm::Mm;
use mm::pgtable::FlushTag;

fn forget(mm: &Mm) {
    mm.gather(FlushTag::Kernel, |gather| core::mem::forget(*gather));
}

fn main() {}
