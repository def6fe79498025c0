//! A gather is finished by the end of its closure, and by nobody before.

use mm::Mm;
use mm::pgtable::FlushTag;

fn finish(mm: &Mm) {
    mm.gather(FlushTag::Kernel, |gather| gather.settle());
}

fn main() {}
