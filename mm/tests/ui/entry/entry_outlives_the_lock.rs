//! An entry cannot outlive the lock either.

use arch::{Desc, Level, VirtAddr};
use mm::Mm;
use mm::space::AddressSpace;

fn let_go(mm: &Mm, space: &AddressSpace, va: VirtAddr, new: Desc) {
    let mut tree = space.ptl.lock();
    let Ok(entry) = tree.entry(space.flusher(mm), va, Level::L3) else { return };
    drop(tree);
    entry.make(new);
}

fn main() {}
