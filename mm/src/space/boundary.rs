//! Changes of the VMA set, as far as counts of mappings depend on where one VMA ends and the next begins.
//!
//! With `mapcount=vma-pt` a folio counts one for each VMA that maps it through a table. So when VMAs are cut or joined
//! inside a level-3 table, folios with entries on both sides of the cut count one more, or one fewer. Any change is
//! done in three parts, with the set and the tables locked (G, the set, T) so that nobody counts by a VMA that is no
//! more:
//!
//! ```text
//!   as it was      [ a )[ b )    [ c )      join all, left to right: as if one VMA held [a.start, c.end)
//!   the change     f
//!   as it is now   [ a )[ b' )[ d )[ c )    cut all, left to right
//! ```
//! Every other way of counting does the change and nothing else.
#![forbid(unsafe_code)]

use arch::{PageSize, VirtAddr};

use super::{AddressSpace, VmaSet, range};
use crate::Mm;
use crate::config::Mapcount;
use crate::mapcount::{self, Boundary};
use crate::pgtable::PtRoot;

impl AddressSpace {
    /// Changes VMAs of `[start, end)`, and their neighbours as far as they join, by `change`. M is held for writing;
    /// what `change` takes out has no entries any more.
    pub(crate) fn change_vmas(
        &self,
        mm: &Mm,
        start: VirtAddr,
        end: VirtAddr,
        change: impl FnOnce(&mut VmaSet),
    ) {
        if mapcount::scheme(mm) != Mapcount::VmaPt {
            return change(&mut self.vmas.lock());
        }
        // Who comes to a page from its folio holds G from the look at the VMA to the entry.
        let _lineage = self.lineage.hold();
        let mut vmas = self.vmas.lock();
        let first = vmas.find_below(start).map_or(start, |vma| vma.start);
        let last = vmas.find(end).map_or(end, |vma| vma.end.max(end));
        let tree = self.ptl.lock();
        for_each_end(&vmas, (first, last), |at, next| {
            recount(mm, &tree, Boundary::Joined, at, (first, next));
        });
        change(&mut vmas);
        let mut from = first;
        for_each_end(&vmas, (first, last), |at, _| {
            recount(mm, &tree, Boundary::Cut, at, (from, last));
            from = at;
        });
    }
}

/// Tells `f` where a VMA that is in `range` ends and where the next one ends, from the lowest up.
fn for_each_end(vmas: &VmaSet, range: (VirtAddr, VirtAddr), mut f: impl FnMut(VirtAddr, VirtAddr)) {
    let mut before: Option<VirtAddr> = None;
    for vma in vmas.overlapping(range.0, range.1) {
        if let Some(at) = before {
            f(at, vma.end);
        }
        before = Some(vma.end);
    }
}

/// Where one VMA ends or ended, inside a table: nothing is to be done where a table ends too.
fn recount(mm: &Mm, tree: &PtRoot, change: Boundary, at: VirtAddr, vma: (VirtAddr, VirtAddr)) {
    if !at.is_aligned(PageSize::Size2M.bytes()) {
        mapcount::vma_boundary(mm, change, at, vma, |va| range::leaf_table(tree, va));
    }
}
