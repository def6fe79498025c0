//! Taking a reference to whatever folio a pfn belongs to, without a lock and without knowing anything of it.
//!
//! Code that walks physical memory (compaction, memory failure, a scanner for a debugger) meets pages that
//! are free, half made, tails, or the tails of an optimised folio, which are read-only and in the `pointer`
//! encoding even look like heads. So the head is looked up, its count taken and the lookup repeated, all with
//! interrupts masked: no remap of vmemmap can come between, as it holds every CPU by an interrupt first.
#![forbid(unsafe_code)]

use arch::{Cpu, Machine, Pfn};

use super::{FolioRef, page_of};
use crate::Mm;

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
}
