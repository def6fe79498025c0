//! Damage to objects, their pages, and the lists of who maps them.

use super::*;
use crate::hugetlb::{self, HugeSize};
use crate::kalloc::KArc;
use crate::page::{FolioRef, PageKind};
use crate::shmem::{ObjectId, ObjectUse};
use arch::pte::PteFlags;

use crate::space::{Advice, MmapRequest, VmaKind};
use crate::stats::Counter;
use crate::userfault::{Serves, Userfault};

/// An object of four pages that the space has mapped at [`BASE`], with a page that no entry maps.
fn object(site: &Site<'_>) -> ObjectUse {
    let object = site.mm.new_object(4 * PAGE).unwrap();
    let request = MmapRequest::anonymous(4 * PAGE, RW);
    let request = MmapRequest { flags: MapFlags::SHARED, ..request }.fixed(BASE.raw());
    site.mm.mmap_object(&site.space, &request, &object).unwrap();
    site.mm.write_user(&site.space, BASE, &[1]).unwrap();
    site.mm.madvise(&site.space, BASE.raw(), PAGE, Advice::DontNeed).unwrap();
    object
}

/// An object of one hugetlb page, which it has.
fn huge_object(site: &Site<'_>) -> ObjectUse {
    assert_eq!(site.mm.hugetlb.set_nr(site.mm, HugeSize::K64, 1).persistent, 1);
    let bytes = HugeSize::K64.bytes();
    let object = site.mm.new_huge_object(HugeSize::K64, bytes).unwrap();
    let request = MmapRequest { flags: MapFlags::SHARED, ..MmapRequest::anonymous(bytes, RW) };
    site.mm.mmap_object(&site.space, &request.fixed(BASE.raw()), &object).unwrap();
    site.mm.write_user(&site.space, BASE, &[1]).unwrap();
    object
}

/// A private mapping of an object of one hugetlb page, the private copy of which is promised, and one page more is
/// free.
fn huge_private(site: &Site<'_>) -> ObjectUse {
    assert_eq!(site.mm.hugetlb.set_nr(site.mm, HugeSize::K64, 2).persistent, 2);
    let bytes = HugeSize::K64.bytes();
    let object = site.mm.new_huge_object(HugeSize::K64, bytes).unwrap();
    let request = MmapRequest { flags: MapFlags::PRIVATE, ..MmapRequest::anonymous(bytes, RW) };
    site.mm.mmap_object(&site.space, &request.fixed(BASE.raw()), &object).unwrap();
    object
}

/// A page of kind shmem with this owner, which no object has.
fn stray(site: &Site<'_>, mapping: u64) -> FolioRef {
    let page = site.mm.alloc_zeroed_page(PageKind::Shmem).unwrap();
    page.set_mapping(mapping, 1);
    page
}

/// A context that the first VMA of the space names, whatever it is.
fn register(site: &Site<'_>) -> KArc<Userfault> {
    let context = site.mm.new_userfault(&site.space, Serves::All).unwrap();
    site.space.with_raw_vmas(|vmas| vmas[0].userfault = Some(context.id));
    context
}

pub(super) const ROWS: &[Row] = &[
    ("the folio's object", small, |site| {
        let other = object(site).page(0).unwrap();
        site.mm.munmap(&site.space, BASE.raw(), 4 * PAGE).unwrap();
        let _kept = object(site);
        site.make_user(BASE, Level::L3, Desc::leaf(other.pfn().phys(), Level::L3, PteFlags::USER_RW));
        Some(other.pfn())
    }),
    ("mappings of a page that its object has lost", small, |site| {
        let page = stray(site, 0);
        page.add_raw_mapcount(1);
        Some(page.pfn())
    }),
    ("references to a page that its object has lost", small, |site| Some(stray(site, 0).pfn())),
    ("the object that owns a page is alive", small, |site| {
        Some(stray(site, ObjectId::new(99).mapping()).pfn())
    }),
    ("a page is its object's", small, |site| Some(stray(site, object(site).id.mapping()).pfn())),
    ("references to a page of an object", small, |site| {
        let page = object(site).page(0).unwrap();
        page.get().leave();
        Some(page.pfn())
    }),
    ("the kind of a page of an object", small, |site| {
        let page = object(site).page(0).unwrap();
        page.set_kind(PageKind::Kernel, Order::PAGE);
        Some(page.pfn())
    }),
    ("pages beyond the end of their object", small, |site| {
        object(site).damage(Some(0));
        None
    }),
    ("pages beyond the end of the object that a leaf maps", small, |site| {
        let object = object(site);
        site.mm.write_user(&site.space, BASE, &[2]).unwrap();
        object.damage(Some(0));
        Some(object.page(0).unwrap().pfn())
    }),
    ("pages of an object that are there, and promised too", small, |site| {
        huge_object(site).damage_promises(0..1);
        None
    }),
    ("the list of what the pool has promised to an object", small, |site| {
        huge_object(site).damage_promises(5..5);
        None
    }),
    ("the list of what the pools have promised to a space", small, |site| {
        let _kept = huge_private(site);
        site.space.objects.owed.damage(HugeSize::K64, BASE);
        None
    }),
    ("promises for slots of no private mapping of an object", small, |site| {
        let _kept = huge_private(site);
        site.space.objects.owed.damage(HugeSize::K64, BASE.add(4 * MIB));
        None
    }),
    ("promises for a slot that has its private copy", small, |site| {
        let _kept = huge_private(site);
        let copy = site.touch(BASE);
        site.space.objects.owed.damage(HugeSize::K64, BASE);
        hugetlb::reserve(site.mm, HugeSize::K64, 1).unwrap();
        Some(copy.pfn())
    }),
    ("spaces that an object lists", small, |site| {
        object(site).damage(None);
        None
    }),
    ("nr_shmem", small, |site| {
        let _kept = object(site);
        site.mm.stats.inc(Counter::NrShmem);
        None
    }),
    ("VMAs of objects that are gone", small, |site| {
        let _kept = object(site);
        site.space.with_raw_vmas(|vmas| vmas[0].kind = VmaKind::Shared(ObjectId::new(99)));
        None
    }),
    ("registered VMAs of other memory than shared hugetlb", small, |site| {
        let _kept = object(site);
        register(site);
        None
    }),
    ("VMAs registered with a context that is gone", small, |site| {
        let (_kept, context) = (huge_object(site), register(site));
        site.mm.close_userfault(&context);
        site.space.with_raw_vmas(|vmas| vmas[0].userfault = Some(context.id));
        None
    }),
    ("pages of an object that a space has attached", small, |site| {
        site.space.objects.grow(object(site).id, 1);
        None
    }),
];

#[test]
fn damage_to_objects_is_found() {
    run(ROWS);
}
