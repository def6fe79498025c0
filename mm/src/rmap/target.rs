//! Where a folio can be moved to.
#![forbid(unsafe_code)]

use arch::Order;

use crate::Mm;
use crate::error::OutOfMemory;
use crate::hugetlb;
use crate::page::{FolioRef, PageKind, PageRef};

/// A folio like `like`, contents undefined, with one reference: of the buddy allocator, or of the hugetlb pool where that
/// has one that it has promised to nobody. Given back by [`drop_target`] where nothing was moved there.
///
/// # Errors
/// [`OutOfMemory`].
pub fn target_for(mm: &Mm, like: PageRef) -> Result<FolioRef, OutOfMemory> {
    let (kind, order) = (like.kind(), like.order());
    if kind == PageKind::Hugetlb {
        return hugetlb::take_spare(mm, |_| true).ok_or(OutOfMemory);
    }
    Ok(as_folio(mm, mm.alloc_pages(order, kind)?, order))
}

/// Makes a block that was just given out a folio of its kind, if it is more than a page.
pub(super) fn as_folio(mm: &Mm, block: FolioRef, order: Order) -> FolioRef {
    if order > Order::PAGE {
        let kind = block.kind();
        block.prep_compound(kind, order, mm.config.tails);
    }
    block
}

/// Gives back a target that was not used.
pub fn drop_target(mm: &Mm, target: FolioRef) {
    mm.put_folio(target);
}
