//! Taking a folio whose memory has failed out of the tables.
//!
//! | the folio is | an entry that mapped it becomes | the next access |
//! |---|---|---|
//! | a page of an object | empty | the fault finds in the object that it has failed |
//! | the same, in a VMA that permits smaller entries | a table, in which the failed 4 KiB are empty; empty, where there is no memory for tables | the rest is used as before |
//! | private | a marker | the fault finds the marker: what was there is lost, and no page of zeros may look like it |
//!
//! (Linux: `hwpoison_user_mappings`, which leaves a marker in both.)
#![forbid(unsafe_code)]

use core::ops::Range;

use arch::VirtAddr;
use arch::addr::PAGE_SIZE;

use super::unmap::{unmap_folio_page, unmap_to_mark};
use super::wake;
use super::walk::{Origin, Place};
use crate::Mm;
use crate::hugetlb::poison::is_unreliable;
use crate::page::{Flags, PageRef};
use crate::pgtable::TableStock;
use crate::space::Grain;

/// The right to move a folio, had by who takes it out of the tables since it has failed: so it does not move meanwhile.
pub(crate) struct Still<'m> {
    mm: &'m Mm,
    head: PageRef,
}

impl<'m> Still<'m> {
    /// Waits until nobody moves the folio, to which the caller has a reference. May sleep; no spinlock is held.
    pub(crate) fn hold(mm: &'m Mm, head: PageRef) -> Self {
        mm.rmap.moved.wait(mm, || head.claim_flag(Flags::MOVING).then_some(()));
        Still { mm, head }
    }

    /// Tables with which the page `n` of the folio can be unmapped alone where that is permitted. `None`: there is no
    /// memory for them.
    pub(crate) fn tables(&self, n: u64) -> Option<TableStock<'m>> {
        /// From a block of level 1 to a page.
        const DEEP: usize = 2;
        let (origin, mut places) = (Origin::of(self.head), 0);
        if origin.is_shared() {
            let count = |place: &Place<'_>| places += usize::from(page_of_place(&origin, place, n).is_some());
            origin.for_each_place(self.mm, count);
        }
        TableStock::for_range(self.mm, DEEP * places).ok()
    }

    /// Takes every entry away that maps a part of the folio, or its page `n` where that is permitted alone. Its head
    /// says by now what has failed, so nobody makes a new one for that. Where more places have come since
    /// [`Self::tables`] all entries of the folio go, as where there were none.
    pub(crate) fn unmap(&self, n: u64, mut stock: Option<TableStock<'m>>) {
        let origin = Origin::of(self.head);
        if !origin.is_shared() {
            return unmap_to_mark(self.mm, &origin);
        }
        origin.for_each_place(self.mm, |place| {
            let page = page_of_place(&origin, place, n).filter(|_| !is_unreliable(self.head));
            unmap_folio_page(self.mm, &origin, place, page.zip(stock.as_mut()));
        });
    }
}

impl Drop for Still<'_> {
    fn drop(&mut self) {
        self.head.clear_flags(Flags::MOVING);
        wake(self.mm);
    }
}

/// Where page `n` of the folio is mapped in this place, if it may be by an entry of its own.
fn page_of_place(origin: &Origin, place: &Place<'_>, n: u64) -> Option<Range<VirtAddr>> {
    let va = place.vma.address_of(origin.index_of(n)).filter(|_| place.vma.grain != Grain::Whole)?;
    place.part.contains(&va).then(|| va..va.add(PAGE_SIZE))
}
