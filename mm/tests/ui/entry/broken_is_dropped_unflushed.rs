//! A broken entry that nothing is done with is told of.
#![deny(unused_must_use)]

use arch::{Level, VirtAddr};
use mm::Mm;
use mm::space::AddressSpace;

fn forget(mm: &Mm, space: &AddressSpace, va: VirtAddr) {
    let mut tree = space.ptl.lock();
    let Ok(entry) = tree.entry(space.flusher(mm), va, Level::L3) else { return };
    entry.break_live::<1>(|_, _| ());
}

fn main() {}
