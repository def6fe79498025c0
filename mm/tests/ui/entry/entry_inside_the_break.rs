//! What is told of each broken entry sees it, but cannot store to it.

use arch::{Desc, Level, VirtAddr};
use mm::Mm;
use mm::space::AddressSpace;

fn inside(mm: &Mm, space: &AddressSpace, va: VirtAddr, new: Desc) {
    let mut tree = space.ptl.lock();
    let Ok(entry) = tree.entry(space.flusher(mm), va, Level::L3) else { return };
    drop(entry.break_live::<1>(|entry, _| entry.make(new)));
}

fn main() {}
