//! What was unmapped cannot leave the closure of the gather that owes its flush.

use arch::{Level, VirtAddr};
use mm::Mm;
use mm::space::AddressSpace;

fn f(mm: &Mm, space: &AddressSpace, va: VirtAddr) {
    let unmapped = mm.gather(space.tag(), |gather| {
        let mut tree = space.ptl.lock();
        let entry = tree.entry(space.flusher(mm), va, Level::L3).ok()?;
        Some(entry.clear(gather))
    });
    drop(unmapped);
}

fn main() {}
