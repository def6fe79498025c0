//! A clean entry cannot outlive the lock: another CPU might have made it meanwhile.

use arch::{Desc, Level, VirtAddr};
use mm::Mm;
use mm::space::AddressSpace;

fn let_go(mm: &Mm, space: &AddressSpace, va: VirtAddr, new: Desc) {
    let mut tree = space.ptl.lock();
    let Ok(entry) = tree.entry(space.flusher(mm), va, Level::L3) else { return };
    let clean = entry.break_live::<1>(|_, _| ()).flush();
    drop(tree);
    clean.make(|_| new, |_, _| ()).keep();
}

fn main() {}
