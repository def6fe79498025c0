//! The view of the folio that an unmapped entry shows is none that can be freed.

use arch::{Level, VirtAddr};
use mm::Mm;
use mm::space::AddressSpace;

fn f(mm: &Mm, space: &AddressSpace, va: VirtAddr) {
    mm.gather(space.tag(), |gather| {
        let mut tree = space.ptl.lock();
        let Ok(entry) = tree.entry(space.flusher(mm), va, Level::L3) else { return };
        let unmapped = entry.clear(gather);
        if let Some(head) = unmapped.folio(mm) {
            mm.put_folio(head);
        }
        gather.hold(unmapped);
    });
}

fn main() {}
