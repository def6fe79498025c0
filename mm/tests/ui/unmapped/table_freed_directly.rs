//! A table that was unlinked from a live tree is freed by the gather only.

use arch::{Level, VirtAddr};
use mm::Mm;
use mm::space::AddressSpace;

fn f(mm: &Mm, space: &AddressSpace, va: VirtAddr) {
    mm.gather(space.tag(), |gather| {
        let mut tree = space.ptl.lock();
        let Ok(entry) = tree.entry(space.flusher(mm), va, Level::L2) else { return };
        let unmapped = entry.clear(gather);
        mm.free_table(unmapped);
    });
}

fn main() {}
