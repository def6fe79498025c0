//! Two gathers cannot be exchanged: each has a lifetime of its own.

use mm::Mm;
use mm::pgtable::FlushTag;

fn exchange(mm: &Mm) {
    mm.gather(FlushTag::Kernel, |outer| mm.gather(FlushTag::Kernel, |inner| core::mem::swap(outer, inner)));
}

fn main() {}
