//! Nor is there any other way to store to a broken entry.

use arch::{Desc, Level, VirtAddr};
use mm::Mm;
use mm::space::AddressSpace;

fn store(mm: &Mm, space: &AddressSpace, va: VirtAddr, new: Desc) {
    let mut tree = space.ptl.lock();
    let Ok(entry) = tree.entry(space.flusher(mm), va, Level::L3) else { return };
    let broken = entry.break_live::<1>(|_, _| ());
    broken.relax(new, new);
}

fn main() {}
