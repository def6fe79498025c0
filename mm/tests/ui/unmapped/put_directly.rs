//! A frame that was unmapped cannot be given to the allocator: not as a folio,
//! nor as a block of pages.

use arch::{Level, Order, VirtAddr};
use mm::Mm;
use mm::space::AddressSpace;

fn f(mm: &Mm, space: &AddressSpace, va: VirtAddr) {
    mm.gather(space.tag(), |gather| {
        let mut tree = space.ptl.lock();
        let Ok(entry) = tree.entry(space.flusher(mm), va, Level::L3) else { return };
        let unmapped = entry.clear(gather);
        mm.put_folio(unmapped);
    });
}

fn g(mm: &Mm, space: &AddressSpace, va: VirtAddr) {
    mm.gather(space.tag(), |gather| {
        let mut tree = space.ptl.lock();
        let Ok(entry) = tree.entry(space.flusher(mm), va, Level::L3) else { return };
        let unmapped = entry.clear(gather);
        mm.free_pages(unmapped, Order::PAGE);
    });
}

fn main() {}
