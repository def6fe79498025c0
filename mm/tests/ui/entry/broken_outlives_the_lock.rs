//! A broken entry cannot outlive the lock: the guard is not dropped while it lives.

use arch::{Desc, Level, VirtAddr};
use mm::Mm;
use mm::space::AddressSpace;

fn let_go(mm: &Mm, space: &AddressSpace, va: VirtAddr, new: Desc) {
    let mut tree = space.ptl.lock();
    let Ok(entry) = tree.entry(space.flusher(mm), va, Level::L3) else { return };
    let broken = entry.break_live::<1>(|_, _| ());
    drop(tree);
    broken.flush().make(|_| new, |_, _| ()).keep();
}

fn main() {}
