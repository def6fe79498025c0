//! Every leaf of every live address space, against its VMA and against the struct page that it maps.
//!
//! A private page is mapped by the space in which it was born and by those that descend from it, each time at the
//! linear index that its struct page names. This side holds each leaf against those places; the other side
//! (`check::pages`) counts, for each page in use, the leaves that stand there. Together they count every leaf of every
//! tree once, for the page that it maps.
#![forbid(unsafe_code)]

use core::ops::ControlFlow;

use arch::addr::PAGE_SIZE;
use arch::contiguous::group_bytes;
use arch::layout::{USER_END, USER_START};
use arch::pte::PteFlags;
use arch::{Desc, Level, Order, VirtAddr};

use super::{AddressSpace, Vma, VmaKind};
use crate::Mm;
use crate::check::{Inconsistency, Mapped, Report, agree};
use crate::config::Contpte;
use crate::device::Sharing;
use crate::mapcount::check::{Scan, Seen};
use crate::page::{PageKind, PageRef, page_of};
use crate::pgtable::fold::{group_at, is_folded};
use crate::pgtable::normal_folio;
use crate::pgtable::visit::{Leaf, Node, visit};
use crate::shmem::ObjectId;

impl Mm {
    /// The VMAs and leaves of every live address space.
    pub(crate) fn check_spaces(&self, report: &mut Report) -> Result<(), Inconsistency> {
        self.spaces.try_for_each(|space| {
            report.spaces += 1;
            self.check_asid(space)?;
            self.check_lineage(space)?;
            space.check_vmas()?;
            space.userfaults.check(space)?;
            visit(space.root(), VirtAddr::new(0), &mut |node| match node {
                Node::Leaf(leaf) => self.check_leaf(space, leaf, report),
                Node::Poisoned(marker) => check_marker(space, marker),
                Node::Table(_) | Node::Migration(_) => Ok(()),
            })
        })
    }

    /// The tree of VMAs of every live address space.
    pub(crate) fn check_vma_trees(&self, _: &mut Report) -> Result<(), Inconsistency> {
        self.spaces.try_for_each(|space| {
            let sound = space.vmas.lock().is_sound();
            agree("the tree of VMAs knows its gaps", None, 1, sound.into())
        })
    }

    /// The counter of each live address space against its entries.
    pub(crate) fn check_usage(&self, _: &mut Report) -> Result<(), Inconsistency> {
        self.spaces.try_for_each(|space| {
            let mut anon = 0;
            visit(space.root(), VirtAddr::new(0), &mut |node| {
                if let Node::Leaf(leaf) = node
                    && normal_folio(self, leaf.desc, leaf.level)
                        .is_some_and(|page| page.kind() == PageKind::Anon)
                {
                    anon += leaf.level.entry_bytes() / PAGE_SIZE;
                }
                Ok(())
            })?;
            agree("anonymous pages of a space", None, anon, space.anon_pages())
        })
    }

    /// No other live space has this one's ASID in the same generation.
    fn check_asid(&self, space: &AddressSpace) -> Result<(), Inconsistency> {
        let asid = space.asid.raw();
        self.spaces.try_for_each(|other| {
            let same = asid != 0 && other.id != space.id && other.asid.raw() == asid;
            agree("address spaces with one ASID", None, 0, if same { asid } else { 0 })
        })
    }

    /// The space is found by its number, first of those that descend from it.
    fn check_lineage(&self, space: &AddressSpace) -> Result<(), Inconsistency> {
        let lineage = self.lineages.find(space.id);
        let first = lineage.map(|lineage| lineage.hold().visit(|first| ControlFlow::Break(first.id)));
        let found = matches!(first, Some(ControlFlow::Break(id)) if id == space.id);
        agree("a live space has its node in the lineage", None, 1, found.into())
    }

    fn check_leaf(&self, space: &AddressSpace, leaf: Leaf, report: &mut Report) -> Result<(), Inconsistency> {
        let output = leaf.desc.output(leaf.level);
        let pfn = Some(output.pfn());
        let vma = space.vma_at(leaf.va).filter(|vma| leaf.va.add(leaf.level.entry_bytes()) <= vma.end);
        agree("a leaf lies in a VMA", pfn, 1, vma.is_some().into())?;
        let Some(vma) = vma else { return Ok(()) };
        let huge_zero = self.huge_zero.is_at(output);
        let zero = huge_zero || self.zero_page.is_at(output);
        // Any leaf may lack the right to write: its page may be shared, or have been. That of an object's page in a
        // private VMA never has it.
        let objects =
            self.pfn_valid(output.pfn()) && normal_folio(self, leaf.desc, leaf.level).is_some_and(is_objects);
        let only_read = if zero {
            PteFlags::READ_ONLY | PteFlags::SPECIAL
        } else if objects && matches!(vma.kind, VmaKind::Private(_) | VmaKind::HugePrivate(..)) {
            PteFlags::READ_ONLY
        } else {
            leaf.desc.flags(leaf.level) & PteFlags::READ_ONLY
        };
        // What a device has put in by its number has a mark, and another memory type outside of RAM.
        let special = vma.kind.device().is_some() && leaf.desc.is_special();
        if special {
            let what = PteFlags::SPECIAL | PteFlags::ATTR_INDEX | PteFlags::SHAREABILITY;
            let rights = vma.prot.leaf_flags() | only_read;
            let good = Desc::leaf(output, leaf.level, (rights - what) | (leaf.desc.flags(leaf.level) & what));
            return agree("a leaf has the rights of its VMA", pfn, good.raw(), leaf.desc.raw());
        }
        let good = Desc::leaf(output, leaf.level, vma.prot.leaf_flags() | only_read);
        self.check_fold(leaf)?;
        // Whether it was accessed is nobody's business here.
        let found = leaf.desc.alone();
        let found = found.with_flags(leaf.level, found.flags(leaf.level) | PteFlags::ACCESSED);
        agree("a leaf has the rights of its VMA", pfn, good.raw(), found.raw())?;
        if zero {
            let level = if huge_zero { Level::L2 } else { Level::L3 };
            let page = vma.kind == VmaKind::Anon && leaf.level == level;
            return agree("the page of zeros is a page of anonymous memory", pfn, 1, page.into());
        }
        agree("a leaf maps RAM", pfn, 1, self.pfn_valid(output.pfn()).into())?;
        let page = page_of(output.pfn());
        if page.kind() == PageKind::Kernel && vma.kind.device().is_some() {
            report.device_pages.add(page.pfn());
        }
        self.check_mapped_page(space, &vma, leaf, page)
    }

    /// All of a group is folded, or nothing of it.
    fn check_fold(&self, leaf: Leaf) -> Result<(), Inconsistency> {
        if !leaf.desc.is_contiguous() {
            return Ok(());
        }
        let pfn = Some(leaf.desc.output(leaf.level).pfn());
        let wanted = leaf.level >= Level::L2 && self.config.contpte == Contpte::On;
        agree("only levels 2 and 3 are folded, and by choice", pfn, 1, wanted.into())?;
        let folded = is_folded(&group_at(leaf.slot), leaf.level);
        agree("a group is folded as a whole", pfn, 1, folded.into())?;
        let head = normal_folio(self, leaf.desc, leaf.level);
        let good = head.is_some_and(|head| {
            head.order().bytes() >= group_bytes(leaf.level) || head.is_single(PageKind::Anon)
        });
        agree("a folded group maps a folio as large or larger, or single pages", pfn, 1, good.into())
    }

    /// What a leaf maps is in use, and says that it is mapped here.
    fn check_mapped_page(
        &self,
        space: &AddressSpace,
        vma: &Vma,
        leaf: Leaf,
        page: PageRef,
    ) -> Result<(), Inconsistency> {
        let head = page.head(self.config.tails);
        let pfn = Some(head.pfn());
        let kind = match vma.kind {
            VmaKind::Private(_) if head.kind() == PageKind::Shmem => PageKind::Shmem,
            VmaKind::Anon | VmaKind::Private(_) => PageKind::Anon,
            VmaKind::Hugetlb(_) | VmaKind::HugeShared(..) | VmaKind::HugePrivate(..) => PageKind::Hugetlb,
            VmaKind::Shared(_) => PageKind::Shmem,
            VmaKind::Device(map) if map.sharing == Sharing::Private && head.kind() == PageKind::Anon => {
                PageKind::Anon
            }
            VmaKind::Device(_) => PageKind::Kernel,
        };
        agree("the kind of a page that a user maps", Some(page.pfn()), kind as u64, head.kind() as u64)?;
        let last = page.pfn().add(leaf.level.entry_bytes() / PAGE_SIZE);
        let inside = last <= head.pfn().add(head.order().pages());
        agree("a leaf maps one folio", pfn, 1, inside.into())?;
        if kind == PageKind::Kernel {
            return Ok(());
        }
        if let Some(object) = vma.kind.object().and_then(|id| self.objects.find(id)) {
            let end = object.bytes().div_ceil(PAGE_SIZE);
            let beyond = (vma.index_of(leaf.va) + 1).saturating_sub(end);
            agree("pages beyond the end of the object that a leaf maps", pfn, 0, beyond)?;
        }
        let first = vma.index_of(leaf.va).wrapping_sub(page.pfn().offset_from(head.pfn()));
        let own = matches!(vma.kind, VmaKind::HugePrivate(..)) && !is_objects(head);
        if own {
            let promised = vma.kind.huge_size().is_some_and(|size| space.objects.owed.has(size, leaf.va));
            agree("promises for a slot that has its private copy", pfn, 0, promised.into())?;
        }
        if let (PageKind::Shmem | PageKind::Hugetlb, Some(id), false) = (kind, vma.kind.object(), own) {
            agree("the folio's object", pfn, id.mapping(), head.mapping())?;
        } else {
            let family = space.lineage.hold().descends_from(head.mapping());
            agree("a space that maps a page descends from the page's", pfn, 1, family.into())?;
        }
        agree("the folio's index", pfn, first, head.index())
    }
}

/// Whether it is a page of an object, by what its struct page says.
fn is_objects(head: PageRef) -> bool {
    matches!(head.kind(), PageKind::Shmem | PageKind::Hugetlb)
        && ObjectId::of_mapping(head.mapping()).is_some()
}

/// A marker stands where private pages of hugetlb may, and so do the others of its page.
fn check_marker(space: &AddressSpace, marker: Leaf) -> Result<(), Inconsistency> {
    let vma = space.vma_at(marker.va).filter(|vma| marker.va.add(marker.level.entry_bytes()) <= vma.end);
    let size = vma.and_then(|vma| vma.kind.huge_size()).filter(|size| size.level() == marker.level);
    agree("a marker is of a hugetlb page", None, 1, size.is_some().into())?;
    let alone = size.is_some_and(|size| size.entries() == 1);
    let whole = alone || group_at(marker.slot).iter().all(|desc| desc.is_poisoned());
    agree("a hugetlb page has markers for all of it", None, 1, whole.into())
}

impl AddressSpace {
    /// The leaves that map a part of the scan's window of the folio, in the places that its linear index names; `scan`
    /// gets all of them. Returns those that begin in the window.
    pub(crate) fn leaves_of(&self, head: PageRef, scan: &mut Scan) -> Mapped {
        let mut mapped = Mapped::default();
        let (index, window) = (head.index(), scan.window(head));
        let pages = index.saturating_add(window.start)..index.saturating_add(window.end);
        self.for_each_linear(pages, |part| self.count_leaves_of(head, part, &mut mapped, scan));
        scan.next_space();
        mapped
    }

    /// Whether any leaf maps a part of the folio, in the places that its linear index names.
    pub(crate) fn maps_any(&self, head: PageRef) -> bool {
        Scan::windows(head).any(|mut scan| {
            self.leaves_of(head, &mut scan);
            scan.is_mapped()
        })
    }

    fn count_leaves_of(&self, head: PageRef, part: &Vma, mapped: &mut Mapped, scan: &mut Scan) {
        let (folio, pages) = (head.pfn(), head.order().pages());
        let tree = self.ptl.lock();
        let mut va = part.start;
        while va < part.end {
            let leaf = tree.walk(va).last();
            let bytes = leaf.level.entry_bytes();
            let output = leaf.desc.output(leaf.level).pfn();
            if leaf.desc.is_leaf(leaf.level) && output >= folio && output < folio.add(pages) {
                let here = scan.see(output.offset_from(folio), (bytes / PAGE_SIZE).min(pages)) == Seen::Here;
                mapped.entries += u64::from(here);
                mapped.pages += if here { bytes / PAGE_SIZE } else { 0 };
                mapped.blocks += u64::from(here && bytes == Order::PMD.bytes());
                let writable = here && !leaf.desc.flags(leaf.level).contains(PteFlags::READ_ONLY);
                mapped.writable += u64::from(writable);
            }
            va = va.align_down(bytes).add(bytes);
        }
    }

    /// VMAs are whole pages of the user half, ascending, apart, and equal neighbours are one.
    fn check_vmas(&self) -> Result<(), Inconsistency> {
        let mut before: Option<Vma> = None;
        let mut verdict = Ok(());
        let vmas = self.vmas.lock();
        for &vma in vmas.iter() {
            verdict = verdict.and_then(|()| check_vma(vma, before));
            before = Some(vma);
        }
        verdict
    }
}

fn check_vma(vma: Vma, before: Option<Vma>) -> Result<(), Inconsistency> {
    let (start, end) = (vma.start, vma.end);
    let granule = vma.kind.granule();
    let whole = start < end && start.is_aligned(granule) && end.is_aligned(granule);
    agree("a VMA is whole pages of its kind", None, 1, whole.into())?;
    agree("a VMA lies in the user half", None, 1, (start >= USER_START && end <= USER_END).into())?;
    let Some(before) = before else { return Ok(()) };
    agree("a VMA begins where the one before has ended", None, 1, (before.end <= start).into())?;
    agree("neighbouring VMAs that differ in nothing", None, 0, before.merges_with(&vma).into())
}
