//! A gather for the length of a closure, passed on by reference; its result comes back.

use mm::pgtable::{FlushTag, Gather};
use mm::testkit;

fn pass_on(gather: &mut Gather<'_>) -> u32 {
    let _: &mut Gather<'_> = gather;
    7
}

fn main() {
    testkit::boot(|mm| {
        let result = mm.gather(FlushTag::Kernel, |gather| pass_on(gather) + pass_on(gather));
        assert_eq!(result, 14);
    });
}
