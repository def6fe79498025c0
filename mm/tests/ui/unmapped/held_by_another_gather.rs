//! No other gather takes it, which would free it before the flush that this one owes.

use arch::{Level, VirtAddr};
use mm::Mm;
use mm::space::AddressSpace;

fn f(mm: &Mm, space: &AddressSpace, va: VirtAddr) {
    mm.gather(space.tag(), |gather| {
        let mut tree = space.ptl.lock();
        let Ok(entry) = tree.entry(space.flusher(mm), va, Level::L3) else { return };
        let unmapped = entry.clear(gather);
        mm.gather(space.tag(), |other| other.hold(unmapped));
    });
}

fn main() {}
