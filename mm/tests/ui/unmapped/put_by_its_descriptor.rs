//! Nor is the struct page that its descriptor leads to.

use arch::{Level, Order, VirtAddr};
use mm::Mm;
use mm::page::page_of;
use mm::space::AddressSpace;

fn f(mm: &Mm, space: &AddressSpace, va: VirtAddr) {
    mm.gather(space.tag(), |gather| {
        let mut tree = space.ptl.lock();
        let Ok(entry) = tree.entry(space.flusher(mm), va, Level::L3) else { return };
        let unmapped = entry.clear(gather);
        let page = page_of(unmapped.desc().output(Level::L3).pfn());
        mm.free_pages(page, Order::PAGE);
        gather.hold(unmapped);
    });
}

fn main() {}
