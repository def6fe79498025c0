//! A broken entry cannot be made valid: there is no `make` before the flush.

use arch::{Desc, Level, VirtAddr};
use mm::Mm;
use mm::space::AddressSpace;

fn make(mm: &Mm, space: &AddressSpace, va: VirtAddr, new: Desc) {
    let mut tree = space.ptl.lock();
    let Ok(entry) = tree.entry(space.flusher(mm), va, Level::L3) else { return };
    let broken = entry.break_live::<1>(|_, _| ());
    broken.make(|_| new, |_, _| ());
}

fn main() {}
