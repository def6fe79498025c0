//! Tables that hold nothing, where a leaf is to stand that takes their place.
//!
//! A fault that ran out of memory half-way leaves such tables, and so does a range that was unmapped while its
//! neighbour had a share in them. Until they are flushed a walk cache may lead to them, so no leaf may be made.
#![forbid(unsafe_code)]

use arch::{Level, VirtAddr};

use super::AddressSpace;
use crate::Mm;
use crate::pgtable::walk::is_empty;
use crate::pgtable::{Gather, PtRoot};

/// Takes away the tables below `level` that translate `[start, end)`, multiples of what an entry of `level` covers, and
/// hold nothing. They are flushed when this returns. M is held, and nothing comes to be mapped there meanwhile.
pub(crate) fn clear_empty_tables(
    mm: &Mm,
    space: &AddressSpace,
    level: Level,
    (start, end): (VirtAddr, VirtAddr),
) {
    mm.gather(space.tag(), |gather| {
        let mut va = start;
        while va < end {
            let mut tree = space.ptl.lock();
            let mut stretch = tree.stretch(space.flusher(mm), va, end);
            let next = stretch.end();
            if stretch.level() > level {
                prune(mm, space, stretch.tree(), va, gather);
            }
            va = next;
        }
    });
}

/// Takes the tables that translate `va` away as far as they hold nothing, the lowest first.
pub(super) fn prune(mm: &Mm, space: &AddressSpace, tree: &mut PtRoot, va: VirtAddr, gather: &mut Gather<'_>) {
    for pair in tree.walk(va).steps().windows(2).rev() {
        let above = pair[0];
        if !is_empty(above.desc.output(above.level)) {
            return;
        }
        if let Ok(entry) = tree.entry(space.flusher(mm), va, above.level) {
            let table = entry.clear(gather);
            gather.hold(table);
        }
    }
}
