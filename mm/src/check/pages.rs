//! Every page in use: its references and mappings against the leaves of all trees.
//!
//! | kind | references | mappings |
//! |---|---|---|
//! | reserved, table, vmemmap, failed | 1 | 0 |
//! | kernel | 1 or more: the kernel's own, one for each leaf, one for each pin | the leaves, which devices have put in |
//! | anon | one for each leaf of each space, one for its reservation, one for each pin | the leaves |
//! | hugetlb | one of its object, where it has one, one for each leaf, one for each pin; 0 while it is free | the leaves |
//! | shmem | one of its object, one for each leaf, one for each pin | the leaves |
//!
//! Free pages are the allocator's to check, unused pages of reservations room 8's.
#![forbid(unsafe_code)]

use arch::{Order, Pfn};

use super::report::{Inconsistency, Report, agree};
use super::tally::Tally;
use crate::Mm;
use crate::boot::Frames;
use crate::mapcount::{self, check::Scan};
use crate::page::{Flags, PageKind, PageRef, page_of};
use crate::shmem::ObjectId;
use crate::stats::Counter;

/// Calls `f` for the first page of every block of `bank`, used or free, with its kind and order.
///
/// # Errors
/// What `f` says.
pub(crate) fn for_each_block(
    bank: Frames,
    mut f: impl FnMut(PageRef, PageKind, Order) -> Result<(), Inconsistency>,
) -> Result<(), Inconsistency> {
    let mut at = bank.start;
    while at < bank.end {
        let page = page_of(at);
        let (kind, order) = (page.kind(), page.order());
        f(page, kind, order)?;
        at = at.add(order.pages());
    }
    Ok(())
}

impl Mm {
    /// Counts, owners and flags of all blocks that are in use.
    pub(crate) fn check_pages(&self, report: &mut Report) -> Result<(), Inconsistency> {
        let (mut anon, mut blocks) = (0, 0);
        let mut device_pages = Tally::default();
        for &bank in self.ram() {
            for_each_block(bank, |page, kind, order| {
                self.check_flags(page, kind, order)?;
                match kind {
                    PageKind::Tail | PageKind::Buddy | PageKind::Free | PageKind::ThpReserved => Ok(()),
                    PageKind::Kernel => self.check_kernel_page(page, &mut device_pages),
                    PageKind::Reserved | PageKind::Table | PageKind::Vmemmap | PageKind::Failed => {
                        check_single_owner(page)
                    }
                    PageKind::Anon => {
                        let mapped = self.check_anon(page)?;
                        anon += mapped.pages;
                        blocks += mapped.blocks;
                        Ok(())
                    }
                    PageKind::Hugetlb => self.check_hugetlb_folio(page),
                    PageKind::Shmem => self.check_object_page(page),
                }
            })?;
        }
        let same = device_pages == report.device_pages;
        agree("leaves that map pages of the kernel, and their counts", None, 1, same.into())?;
        agree("nr_anon_pages", None, anon, self.stats.get(Counter::NrAnon))?;
        agree("nr_anon_transparent_hugepages", None, blocks, self.stats.get(Counter::NrAnonThp))
    }

    /// Which flags and orders a kind may have.
    fn check_flags(&self, page: PageRef, kind: PageKind, order: Order) -> Result<(), Inconsistency> {
        let (pfn, flags) = (Some(page.pfn()), page.flags());
        let folio = flags.contains(Flags::HEAD);
        let may_be_folio =
            matches!(kind, PageKind::Anon | PageKind::Hugetlb | PageKind::Kernel | PageKind::Failed);
        agree(
            "a head of this kind or order",
            pfn,
            0,
            (folio && (!may_be_folio || order == Order::PAGE)).into(),
        )?;
        let optimized = flags.contains(Flags::HVO);
        agree(
            "an optimised page that is no hugetlb folio",
            pfn,
            0,
            (optimized && kind != PageKind::Hugetlb).into(),
        )?;
        let single = matches!(kind, PageKind::Table | PageKind::Vmemmap);
        agree(
            "the order of a page that is given out singly",
            pfn,
            0,
            if single { order.raw().into() } else { 0 },
        )
    }

    /// An anonymous page or folio. Returns what its leaves map.
    fn check_anon(&self, head: PageRef) -> Result<Mapped, Inconsistency> {
        let pfn = head.pfn();
        let reservation = self.reservation_of(pfn).is_some();
        let marked = head.flags().contains(Flags::RESERVED);
        agree("the mark of a page that has a reservation", Some(pfn), reservation.into(), marked.into())?;
        let mapped = self.check_mappings(head)?;
        let references = mapped.entries + u64::from(reservation) + u64::from(head.pincount());
        agree("references to an anonymous page", Some(pfn), references, head.refcount().into())?;
        Ok(mapped)
    }

    /// A page of the kernel: those that devices have put into VMAs have no place of their own, so their mappings are
    /// added up, to be compared with all leaves that map such pages.
    fn check_kernel_page(&self, page: PageRef, mapped: &mut Tally) -> Result<(), Inconsistency> {
        let pfn: Option<Pfn> = Some(page.pfn());
        let entries = mapcount::scheme(self).entries(page).exact().unwrap_or(0);
        (0..entries).for_each(|_| mapped.add(page.pfn()));
        let least = u64::from(entries) + u64::from(page.pincount());
        let enough = page.refcount() != 0 && u64::from(page.refcount()) >= least;
        agree("a kernel page has a reference", pfn, 1, enough.into())
    }

    /// A hugetlb folio, in use or free.
    fn check_hugetlb_folio(&self, head: PageRef) -> Result<(), Inconsistency> {
        let pfn = Some(head.pfn());
        agree("a hugetlb page is a folio", pfn, 1, head.flags().contains(Flags::HEAD).into())?;
        if head.refcount() == 0 {
            agree("mappings of a free hugetlb folio", pfn, 0, head.raw_mapcount().into())?;
            return mapcount::check::is_unused(head);
        }
        if ObjectId::of_mapping(head.mapping()).is_some() {
            return self.check_object_page(head);
        }
        let mapped = self.check_mappings(head)?;
        let references = mapped.entries + u64::from(head.pincount());
        agree("references to a hugetlb folio", pfn, references, head.refcount().into())
    }

    /// What is said of the folio's mappings against the leaves in the places where they may be: of the space in which
    /// it was born, and of those that descend from it, at its linear index. Where a leaf lies that maps it elsewhere,
    /// the check of that leaf says so. A leaf that grants writing is of the only space that maps the folio.
    fn check_mappings(&self, head: PageRef) -> Result<Mapped, Inconsistency> {
        let pfn = Some(head.pfn());
        let mut mapped = Mapped::default();
        let lineage = self.lineages.find(head.mapping());
        let see = |scan: &mut Scan| {
            if let Some(lineage) = &lineage {
                lineage.hold().for_each_descendant(|space| mapped = mapped.and(space.leaves_of(head, scan)));
            }
        };
        let mut spaces = 1;
        let found = mapcount::check::agrees(
            self,
            head,
            see,
            || self.spaces_that_map(head),
            |truth| {
                spaces = truth.spaces;
                Ok(())
            },
        );
        let sole = if mapped.writable == 0 { 1 } else { spaces };
        agree("spaces that map a page which one of them may write", pfn, 1, sole)?;
        found?;
        Ok(mapped)
    }

    /// How many spaces map any part of a folio that has several windows: each may map another part.
    fn spaces_that_map(&self, head: PageRef) -> u64 {
        let mut spaces = 0;
        if let Some(lineage) = self.lineages.find(head.mapping()) {
            lineage.hold().for_each_descendant(|space| {
                spaces += u64::from(space.maps_any(head));
            });
        }
        spaces
    }
}

/// The leaves that map a page or folio.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Mapped {
    /// How many.
    pub(crate) entries: u64,
    /// What they map (4 KiB units).
    pub(crate) pages: u64,
    /// Those among them that are 2 MiB blocks.
    pub(crate) blocks: u64,
    /// Those that grant writing.
    pub(crate) writable: u64,
}

impl Mapped {
    /// Both.
    fn and(self, other: Mapped) -> Mapped {
        Mapped {
            entries: self.entries + other.entries,
            pages: self.pages + other.pages,
            blocks: self.blocks + other.blocks,
            writable: self.writable + other.writable,
        }
    }
}

fn check_single_owner(page: PageRef) -> Result<(), Inconsistency> {
    let pfn = Some(page.pfn());
    agree("references to a page with one owner", pfn, 1, page.refcount().into())?;
    agree("mappings of a page that no user maps", pfn, 0, page.raw_mapcount().into())
}
