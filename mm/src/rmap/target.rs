//! Where a folio can be moved to.
#![forbid(unsafe_code)]

use arch::Order;

use super::Refused;
use crate::Mm;
use crate::hugetlb::{self, HugeSize};
use crate::page::{FolioRef, PageKind, PageRef};

/// A folio like `like`, contents undefined, with one reference: of the buddy allocator, or of the hugetlb pool where
/// that has one that it has promised to nobody. Given back by [`drop_target`] where nothing was moved there.
///
/// # Errors
/// [`Refused::Kind`]: nothing of this kind can be moved. [`Refused::Memory`].
pub fn target_for(mm: &Mm, like: PageRef) -> Result<FolioRef, Refused> {
    let (kind, order) = (like.kind(), like.order());
    if !is_movable(kind) {
        return Err(Refused::Kind);
    }
    if kind == PageKind::Hugetlb {
        let size = HugeSize::from_order(order).ok_or(Refused::Kind)?;
        return hugetlb::take_spare(mm, size, |_| true).ok_or(Refused::Memory);
    }
    let block = mm.alloc_pages(order, kind).map_err(|_| Refused::Memory)?;
    Ok(as_folio(mm, block, order))
}

/// Whether a folio of this kind can be moved at all: the entries that map it can be found.
pub(super) fn is_movable(kind: PageKind) -> bool {
    matches!(kind, PageKind::Anon | PageKind::Hugetlb | PageKind::Shmem)
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
