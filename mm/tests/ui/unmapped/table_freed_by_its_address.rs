//! Nor does its address do.

use arch::{Level, VirtAddr};
use mm::Mm;
use mm::space::AddressSpace;

fn f(mm: &Mm, space: &AddressSpace, va: VirtAddr) {
    mm.gather(space.tag(), |gather| {
        let mut tree = space.ptl.lock();
        let Ok(entry) = tree.entry(space.flusher(mm), va, Level::L2) else { return };
        let unmapped = entry.clear(gather);
        mm.free_table(unmapped.desc().output(Level::L2));
        gather.hold(unmapped);
    });
}

fn main() {}
