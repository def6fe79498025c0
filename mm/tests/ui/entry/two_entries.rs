//! A tree has one entry at a time in hand.

use arch::{Desc, Level, VirtAddr};
use mm::Mm;
use mm::space::AddressSpace;

fn two(mm: &Mm, space: &AddressSpace, va: VirtAddr, new: Desc) {
    let mut tree = space.ptl.lock();
    let (Ok(first), Ok(second)) = (
        tree.entry(space.flusher(mm), va, Level::L3),
        tree.entry(space.flusher(mm), va.add(4096), Level::L3),
    ) else {
        return;
    };
    first.make(new);
    second.make(new);
}

fn main() {}
