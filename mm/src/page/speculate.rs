//! Taking a reference to whatever folio a pfn belongs to, and telling what it lies in, without a lock and without
//! knowing anything of it.
//!
//! Code that walks physical memory (compaction, memory failure, a scanner for a debugger) meets pages that
//! are free, half made, tails, or the tails of an optimised folio, which are read-only and in the `pointer`
//! encoding even look like heads. So the head is looked up, its count taken and the lookup repeated, all with
//! interrupts masked: no page can become a read-only tail meanwhile, as whoever makes it one holds every CPU first, or
//! waits until each has been seen with interrupts open. The head may become another one, where a folio is divided: that
//! is what the second lookup is for.
#![forbid(unsafe_code)]

use arch::{Cpu, Machine, Order, Pfn};

use super::{FolioRef, PageKind, PageRef, page_of};
use crate::Mm;
use crate::buddy::MAX_ORDER;

impl Mm {
    /// Takes a reference to the folio that `pfn` belongs to, the owner of which is returned. `None` where the page is
    /// free, its folio is frozen, or the page changed hands meanwhile. `pfn` must have a struct page
    /// ([`Self::pfn_valid`]). The reference is dropped by [`Self::put_folio`].
    #[must_use]
    pub fn try_get_folio(&self, pfn: Pfn) -> Option<FolioRef> {
        let head_now = || page_of(pfn).head(self.config.tails);
        let irq = Machine::mask_irqs();
        let head = head_now();
        let got = head.try_get_masked();
        let same = got.is_some() && head_now() == head;
        Machine::restore_irqs(irq);
        let folio = got?;
        if same {
            return Some(folio);
        }
        self.put_folio(folio);
        None
    }

    /// The first page of the block that a page of kind [`PageKind::Free`] lies in: a free block, or one that was given
    /// out whole. `None`: the page is free by itself, on a CPU's list. Without any lock: it may be otherwise at the next
    /// moment.
    #[must_use]
    pub fn block_around(&self, page: PageRef) -> Option<PageRef> {
        (1..=MAX_ORDER.raw()).map(Order::new).find_map(|order| {
            let first = page.pfn().align_down(order);
            let block = self.pfn_valid(first).then(|| page_of(first))?;
            let around = block.order() >= order && !matches!(block.kind(), PageKind::Free | PageKind::Tail);
            around.then_some(block)
        })
    }
}
