//! The pool's part of the full check: its numbers and its folios must tell the same.
#![forbid(unsafe_code)]

use super::hstate::SIZE_2M;
use crate::Mm;
use crate::check::{Inconsistency, Report, agree};
use crate::hvo::check::{check_counters, check_folio};
use crate::page::{Flags, PageKind, PageRef, page_of};

/// What a scan finds.
#[derive(Default)]
struct Found {
    all: u64,
    free: u64,
    optimized: u64,
}

impl Mm {
    /// The numbers of the hugetlb pool, its free list, and the vmemmap of every hugetlb folio.
    pub(crate) fn check_hugetlb(&self, _: &mut Report) -> Result<(), Inconsistency> {
        let mut found = Found::default();
        for head in self.ram().iter().flat_map(|bank| bank.iter()).map(page_of).filter(is_head) {
            check_folio(self, head)?;
            found.all += 1;
            found.free += u64::from(head.refcount() == 0);
            found.optimized += u64::from(head.flags().contains(Flags::HVO));
        }
        check_counters(self, found.optimized)?;
        self.check_free_list()?;
        let counts = self.hugetlb.counts();
        agree("nr_hugepages against hugetlb folios in memory", None, found.all, counts.nr)?;
        agree("free_hugepages against folios without references", None, found.free, counts.free)?;
        agree("surplus_hugepages", None, 0, counts.surplus)?;
        agree("huge pages promised beyond what is free", None, 0, counts.reserved.saturating_sub(counts.free))
    }

    fn check_free_list(&self) -> Result<(), Inconsistency> {
        for head in self.hugetlb.lock().free.iter() {
            let pfn = Some(head.pfn());
            agree("a hugetlb folio begins here", pfn, 1, is_head(&head).into())?;
            agree("references to a free hugetlb folio", pfn, 0, head.refcount().into())?;
            agree("mappings of a free hugetlb folio", pfn, 0, head.raw_mapcount().into())?;
            agree("the owner of a free hugetlb folio", pfn, 0, head.mapping() | head.index())?;
        }
        Ok(())
    }
}

/// Whether this is the head of a hugetlb folio.
fn is_head(page: &PageRef) -> bool {
    page.pfn().is_aligned(SIZE_2M.order())
        && page.kind() == PageKind::Hugetlb
        && page.flags().contains(Flags::HEAD)
}
