//! A clean entry is made once.

use arch::{Desc, Level, VirtAddr};
use mm::Mm;
use mm::space::AddressSpace;

fn twice(mm: &Mm, space: &AddressSpace, va: VirtAddr, new: Desc) {
    let mut tree = space.ptl.lock();
    let Ok(entry) = tree.entry(space.flusher(mm), va, Level::L3) else { return };
    let clean = entry.break_live::<1>(|_, _| ()).flush();
    clean.make(|_| new, |_, _| ()).keep();
    clean.make(|_| new, |_, _| ()).keep();
}

fn main() {}
