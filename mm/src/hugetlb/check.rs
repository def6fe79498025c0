//! The pools' part of the full check: its numbers and its folios must tell the same.
#![forbid(unsafe_code)]

use core::convert::Infallible;

use arch::VirtAddr;
use arch::layout::USER_END;

use super::failed::is_unreliable;
use super::hstate::HugeSize;
use super::poison;
use super::promised::Promised;
use crate::Mm;
use crate::check::{Inconsistency, Report, agree, for_each_block};
use crate::hvo::check::{check_counters, check_folio};
use crate::page::{Flags, PageKind, PageRef, page_of};
use crate::space::{AddressSpace, VmaKind};

/// What a scan finds of one size.
#[derive(Clone, Copy, Default)]
struct Found {
    all: u64,
    free: u64,
}

impl Mm {
    /// The numbers of the hugetlb pools, their lists, and the vmemmap of every hugetlb folio.
    pub(crate) fn check_hugetlb(&self, report: &mut Report) -> Result<(), Inconsistency> {
        let (mut found, mut optimized, mut freed) = ([Found::default(); HugeSize::ALL.len()], 0, 0);
        for &bank in self.ram() {
            for_each_block(bank, |head, kind, order| {
                if kind != PageKind::Hugetlb {
                    return Ok(());
                }
                let size = HugeSize::from_order(order);
                agree(
                    "a hugetlb folio is of a size that has a pool",
                    Some(head.pfn()),
                    1,
                    size.is_some().into(),
                )?;
                if let Some(size) = size {
                    found[size.index()].all += 1;
                    found[size.index()].free += u64::from(head.refcount() == 0);
                }
                optimized += u64::from(head.flags().contains(Flags::HVO));
                freed += check_folio(self, head)?;
                Ok(())
            })?;
        }
        check_counters(self, optimized, freed, report)?;
        self.spaces.try_for_each(|space| self.check_owed(space))?;
        HugeSize::ALL.into_iter().zip(found).try_for_each(|(size, found)| self.check_pool(size, found))?;
        self.check_failed(report)
    }

    /// Frames that have failed: those of no folio any more, those on the list, each in a folio that says so, and all of
    /// the folios of which nobody knows.
    fn check_failed(&self, report: &Report) -> Result<(), Inconsistency> {
        let (mut listed, mut stray, mut found) = (0, None, report.pages_of(PageKind::Failed));
        self.hugetlb.failed.for_each(|pfn| {
            let head = page_of(pfn).head(self.config.tails);
            listed += 1;
            let said = head.kind() == PageKind::Hugetlb && poison::any_in(head) && !is_unreliable(head);
            stray = stray.or((!said).then_some(pfn));
        });
        agree("a failed frame that its folio does not know of", stray, 0, stray.is_some().into())?;
        let mut in_folios = 0;
        for &bank in self.ram() {
            for_each_block(bank, |head, kind, order| {
                if kind != PageKind::Hugetlb || !poison::any_in(head) {
                    return Ok(());
                }
                if is_unreliable(head) {
                    found += order.pages();
                    return Ok(());
                }
                let (mut from, mut pages) = (0, 0);
                while let Some(n) = poison::first_in(self, head, from..order.pages()) {
                    (from, pages) = (n + 1, pages + 1);
                }
                in_folios += pages;
                agree("a folio of which a page has failed has one", Some(head.pfn()), 0, (pages == 0).into())
            })?;
        }
        agree("failed frames on the list against those in folios", None, listed, in_folios)?;
        agree("frames that have failed", None, found + listed, self.failed_frames())
    }

    fn check_pool(&self, size: HugeSize, found: Found) -> Result<(), Inconsistency> {
        let leaving = self.check_pool_lists(size)?;
        let counts = self.hugetlb.counts(size);
        agree("nr_hugepages against hugetlb folios in memory", None, found.all, counts.nr + leaving)?;
        agree("free_hugepages against folios without references", None, found.free, counts.free + leaving)?;
        let needed = counts.nr - counts.free + counts.reserved;
        agree("surplus folios that nobody needs", None, 0, counts.surplus.saturating_sub(needed))?;
        agree(
            "resv_hugepages against slots that wait for theirs",
            None,
            self.promised(size),
            counts.reserved,
        )?;
        agree("huge pages promised beyond what is free", None, 0, counts.reserved.saturating_sub(counts.free))
    }

    /// What a space's private mappings of objects were promised is in such mappings, and of their size.
    fn check_owed(&self, space: &AddressSpace) -> Result<(), Inconsistency> {
        agree(
            "the list of what the pools have promised to a space",
            None,
            1,
            space.objects.owed.is_sound().into(),
        )?;
        let (mut vmas, mut listed) = (0, 0);
        for size in HugeSize::ALL {
            space.for_each_vma(|vma| {
                if matches!(vma.kind, VmaKind::HugePrivate(of, _) if of == size) {
                    vmas += space.objects.owed.pages_in(size, &(vma.start..vma.end));
                }
            });
            listed += space.objects.owed.pages(size);
        }
        agree("promises for slots of no private mapping of an object", None, 0, listed - vmas)
    }

    /// Slots of all private hugetlb VMAs, and pages of objects, that were promised a folio of this size and have none
    /// yet.
    fn promised(&self, size: HugeSize) -> u64 {
        let mut promised = 0;
        let Ok(()) = self.spaces.try_for_each::<Infallible>(|space| {
            promised += Promised::to(self, space, VirtAddr::new(0), USER_END).pages(size);
            promised += space.objects.owed.pages(size);
            Ok(())
        });
        promised + self.objects.promised(size)
    }

    /// The pool's lists. Returns how many folios are leaving it.
    fn check_pool_lists(&self, size: HugeSize) -> Result<u64, Inconsistency> {
        let pool = self.hugetlb.lock(size);
        for (list, failed) in [(&pool.free, Some(false)), (&pool.failed, Some(true)), (&pool.leaving, None)] {
            let mut walked = 0;
            for head in list.iter().take(list.len() as usize + 1) {
                let pfn = Some(head.pfn());
                let is_failed = poison::any_in(head);
                let good = failed.is_none_or(|failed| failed == is_failed);
                agree("a folio has failed, or is on the list of those that have", pfn, 1, good.into())?;
                agree("a hugetlb folio begins here", pfn, 1, is_head(&head, size).into())?;
                agree("references to a free hugetlb folio", pfn, 0, head.refcount().into())?;
                agree("the owner of a free hugetlb folio", pfn, 0, head.mapping() | head.index())?;
                walked += 1;
            }
            agree("the length of a list of the pool", None, list.len(), walked)?;
            let broken = list.broken_link().map(|page| page.pfn());
            agree("a link back on a list of the pool", broken, 0, broken.is_some().into())?;
        }
        Ok(pool.leaving.len())
    }
}

/// Whether this is the head of a hugetlb folio of this size.
fn is_head(page: &PageRef, size: HugeSize) -> bool {
    page.pfn().is_aligned(size.order())
        && page.order() == size.order()
        && page.kind() == PageKind::Hugetlb
        && page.flags().contains(Flags::HEAD)
}
