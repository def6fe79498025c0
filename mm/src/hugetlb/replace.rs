//! Replacing a free folio that stands where memory in one piece is wanted.
//!
//! ```text
//!   make     a folio of the size, out of blocks that the buddy allocator has elsewhere, optimised like others
//!   swap     under one hold of H the new one comes into the pool and the old one leaves it
//!   restore  the old one gets its struct pages back, and goes to the buddy allocator: into the isolated range
//! ```
//! **Guarantee.** The pool has as many folios as before, free ones too, at every moment that anybody can see: a promised
//! folio is replaced like any other, and the promise is kept by the new one. Where there is no memory for a new folio,
//! nothing changed. Where there is none for the struct pages of the old one, it waits with those that are leaving, and
//! the next to come for the range, or to resize the pool, tries again (Linux: `alloc_and_dissolve_hugetlb_folio`).
#![forbid(unsafe_code)]

use super::hstate::HugeSize;
use super::pool::Hugetlb;
use super::resize::{count_surplus, is_optimized, optimize};
use crate::Mm;
use crate::buddy::MAX_ORDER;
use crate::hvo;
use crate::page::{FolioRef, PageKind, PageRef};
use crate::rmap::Refused;

/// Whether a free folio can be replaced by a block of the buddy allocator. Those of 32 MiB and 1 GiB would need what
/// they are in the way of, memory in one piece (Linux refuses gigantic pages, too).
pub(crate) fn is_replaceable(head: PageRef) -> bool {
    head.kind() == PageKind::Hugetlb && head.order() <= MAX_ORDER
}

/// Gives the free folio with this head, all or part of which lies in an isolated range, to the buddy allocator, and
/// puts another one into its pool. May sleep; no spinlock is held.
///
/// # Errors
/// [`Refused::Memory`]: there is no memory for another one, or for the struct pages of this one. [`Refused::Busy`]: it is
/// in no list of its pool, as somebody is about to use it.
pub(crate) fn replace_free(mm: &Mm, head: PageRef) -> Result<(), Refused> {
    let size = HugeSize::from_order(head.order()).filter(|_| is_replaceable(head)).ok_or(Refused::Busy)?;
    let old = match mm.hugetlb.take_leaving(size, head) {
        Some(old) => old,
        None => mm.hugetlb.swap_free(mm, size, head)?,
    };
    mm.hugetlb.discard(mm, size, old)
}

impl Hugetlb {
    /// The folio, if it is one of those that are leaving the pool.
    fn take_leaving(&self, size: HugeSize, head: PageRef) -> Option<FolioRef> {
        self.lock(size).leaving.take_first(|page| *page == head)
    }

    /// Exchanges a free folio, promised or not, for a new one.
    fn swap_free(&self, mm: &Mm, size: HugeSize, head: PageRef) -> Result<FolioRef, Refused> {
        let block = mm.alloc_pages(size.order(), PageKind::Hugetlb).map_err(|_| Refused::Memory)?;
        let new = self.enroll(mm, size, block, count_surplus).ok_or(Refused::Busy)?;
        // One that cannot be optimised is as good.
        let _ = optimize(mm, size, [new.page()]);
        let mut pool = self.lock(size);
        let Some(old) = pool.free.take_first(|page| *page == head) else {
            drop(pool);
            self.discard(mm, size, new)?;
            return Err(Refused::Busy);
        };
        pool.free.push(new);
        Ok(old)
    }

    /// Gives a folio that is in no list to the buddy allocator; one that cannot be restored waits with those that are
    /// leaving.
    fn discard(&self, mm: &Mm, size: HugeSize, folio: FolioRef) -> Result<(), Refused> {
        if is_optimized(&folio) && hvo::restore_folio(mm, folio.page()).is_err() {
            self.lock(size).leaving.push(folio);
            return Err(Refused::Memory);
        }
        self.give_up(mm, folio);
        Ok(())
    }
}
