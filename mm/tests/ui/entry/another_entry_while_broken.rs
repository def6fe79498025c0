//! While a broken entry lives, no other entry of the tree can be had, not even for the same address: so nobody
//! makes it valid behind its back.

use arch::{Desc, Level, VirtAddr};
use mm::Mm;
use mm::space::AddressSpace;

fn behind(mm: &Mm, space: &AddressSpace, va: VirtAddr, new: Desc) {
    let mut tree = space.ptl.lock();
    let Ok(entry) = tree.entry(space.flusher(mm), va, Level::L3) else { return };
    let broken = entry.break_live::<1>(|_, _| ());
    if let Ok(again) = tree.entry(space.flusher(mm), va, Level::L3) {
        again.make(new);
    }
    drop(broken);
}

fn main() {}
