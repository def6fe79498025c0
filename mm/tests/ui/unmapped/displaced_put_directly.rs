//! What a broken entry held goes through a gather too.

use arch::{Desc, Level, VirtAddr};
use mm::Mm;
use mm::space::AddressSpace;

fn f(mm: &Mm, space: &AddressSpace, va: VirtAddr, new: Desc) {
    let mut tree = space.ptl.lock();
    let Ok(entry) = tree.entry(space.flusher(mm), va, Level::L2) else { return };
    let displaced = entry.break_live::<1>(|_, _| ()).flush().make(|_| new, |_, _| ());
    mm.free_table(displaced);
}

fn g(mm: &Mm, space: &AddressSpace, va: VirtAddr, new: Desc) {
    let mut tree = space.ptl.lock();
    let Ok(entry) = tree.entry(space.flusher(mm), va, Level::L3) else { return };
    let displaced = entry.break_live::<1>(|_, _| ()).flush().make(|_| new, |_, _| ());
    mm.put_folio(displaced);
}

fn main() {}
