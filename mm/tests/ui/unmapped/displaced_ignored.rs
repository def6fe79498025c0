//! What a broken entry held must not be lost: it is given to a gather, or kept in so many words.
#![deny(unused_must_use)]

use arch::{Desc, Level, VirtAddr};
use mm::Mm;
use mm::space::AddressSpace;

fn f(mm: &Mm, space: &AddressSpace, va: VirtAddr, new: Desc) {
    let mut tree = space.ptl.lock();
    let Ok(entry) = tree.entry(space.flusher(mm), va, Level::L3) else { return };
    entry.break_live::<1>(|_, _| ()).flush().make(|_| new, |_, _| ());
}

fn main() {}
