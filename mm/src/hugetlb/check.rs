//! The pool's part of the full check: its numbers and its folios must tell the same.
#![forbid(unsafe_code)]

use core::convert::Infallible;

use arch::VirtAddr;
use arch::layout::USER_END;

use super::hstate::SIZE_2M;
use crate::Mm;
use crate::check::{Inconsistency, Report, agree, for_each_block};
use crate::hvo::check::{check_counters, check_folio};
use crate::page::{Flags, PageKind, PageRef};

/// What a scan finds.
#[derive(Default)]
struct Found {
    all: u64,
    free: u64,
    optimized: u64,
}

impl Mm {
    /// The numbers of the hugetlb pool, its free list, and the vmemmap of every hugetlb folio.
    pub(crate) fn check_hugetlb(&self, report: &mut Report) -> Result<(), Inconsistency> {
        let mut found = Found::default();
        for &bank in self.ram() {
            for_each_block(bank, |head, kind, order| {
                if kind != PageKind::Hugetlb {
                    return Ok(());
                }
                let size = order.raw().into();
                agree("the order of a hugetlb folio", Some(head.pfn()), SIZE_2M.order().raw().into(), size)?;
                found.all += 1;
                found.free += u64::from(head.refcount() == 0);
                found.optimized += u64::from(head.flags().contains(Flags::HVO));
                check_folio(self, head)
            })?;
        }
        check_counters(self, found.optimized, report)?;
        self.check_free_list()?;
        let counts = self.hugetlb.counts();
        agree("nr_hugepages against hugetlb folios in memory", None, found.all, counts.nr)?;
        agree("free_hugepages against folios without references", None, found.free, counts.free)?;
        agree("surplus_hugepages", None, 0, counts.surplus)?;
        agree("resv_hugepages against slots that wait for theirs", None, self.promised(), counts.reserved)?;
        agree("huge pages promised beyond what is free", None, 0, counts.reserved.saturating_sub(counts.free))
    }

    /// Slots of all hugetlb VMAs that were promised a folio and have none yet.
    fn promised(&self) -> u64 {
        let mut promised = 0;
        let Ok(()) = self.spaces.try_for_each::<Infallible>(|space| {
            promised += self.promised_hugetlb(space, VirtAddr::new(0), USER_END);
            Ok(())
        });
        promised
    }

    fn check_free_list(&self) -> Result<(), Inconsistency> {
        let pool = self.hugetlb.lock();
        let mut walked = 0;
        for head in pool.free.iter().take(pool.free.len() as usize + 1) {
            let pfn = Some(head.pfn());
            agree("a hugetlb folio begins here", pfn, 1, is_head(&head).into())?;
            agree("references to a free hugetlb folio", pfn, 0, head.refcount().into())?;
            agree("the owner of a free hugetlb folio", pfn, 0, head.mapping() | head.index())?;
            walked += 1;
        }
        agree("the length of the pool's free list", None, pool.free.len(), walked)?;
        let broken = pool.free.broken_link().map(|page| page.pfn());
        agree("a link back on the pool's free list", broken, 0, broken.is_some().into())
    }
}

/// Whether this is the head of a hugetlb folio.
fn is_head(page: &PageRef) -> bool {
    page.pfn().is_aligned(SIZE_2M.order())
        && page.kind() == PageKind::Hugetlb
        && page.flags().contains(Flags::HEAD)
}
