//! The entry is gone once it is broken.

use arch::{Desc, Level, VirtAddr};
use mm::Mm;
use mm::space::AddressSpace;

fn both(mm: &Mm, space: &AddressSpace, va: VirtAddr, new: Desc) {
    let mut tree = space.ptl.lock();
    let Ok(entry) = tree.entry(space.flusher(mm), va, Level::L3) else { return };
    let broken = entry.break_live::<1>(|_, _| ());
    entry.make(new);
    drop(broken);
}

fn main() {}
