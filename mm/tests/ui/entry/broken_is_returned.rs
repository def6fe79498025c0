//! A broken entry cannot leave the function that holds the lock.

use arch::{Level, VirtAddr};
use mm::Mm;
use mm::space::AddressSpace;

use mm::pgtable::Broken;

fn leave<'a>(mm: &'a Mm, space: &'a AddressSpace, va: VirtAddr) -> Option<Broken<'a, 1>> {
    let mut tree = space.ptl.lock();
    let entry = tree.entry(space.flusher(mm), va, Level::L3).ok()?;
    Some(entry.break_live::<1>(|_, _| ()))
}

fn main() {}
