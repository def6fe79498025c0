//! Damage to the hugetlb pool, its folios, and their vmemmap.

use arch::pte::PteFlags;

use super::*;
use crate::config::HvoStrategy;
use crate::hugetlb;
use crate::hugetlb::HugeSize;
use crate::hugetlb::poison::Outcome;
use crate::hvo::Switch;
use crate::page::{Flags, page_of};
use crate::shmem::ObjectUse;
use crate::space::MmapRequest;
use crate::stats::Counter;

/// As [`small`], without HVO.
fn plain() -> Builder {
    small().config(|config| config.hvo = HvoStrategy::Off)
}

/// A pool of `n` folios; the head of one.
fn pool(site: &Site<'_>, n: u64) -> PageRef {
    assert_eq!(site.mm.hugetlb.set_nr(site.mm, HugeSize::M2, n).persistent, n);
    let hugetlb = |page: &PageRef| page.kind() == PageKind::Hugetlb;
    site.mm.ram()[0].iter().map(page_of).find(hugetlb).unwrap()
}

/// A hugetlb folio that is in no pool, frozen.
fn stray(site: &Site<'_>, order: u8) -> PageRef {
    let head = site.block(order, PageKind::Hugetlb);
    head.prep_compound(PageKind::Hugetlb, Order::new(order), site.mm.config.tails);
    assert!(head.freeze(1));
    head
}

/// A pool of two folios, one of them mapped: the free one, and the other.
fn mapped(site: &Site<'_>) -> [PageRef; 2] {
    pool(site, 2);
    let used = site.touch(site.map(0, 2 * MIB, MapFlags::HUGETLB));
    let free = |page: &PageRef| page.kind() == PageKind::Hugetlb && page != &used;
    [site.mm.ram()[0].iter().map(page_of).find(free).unwrap(), used]
}

/// A page of an object that has failed, and its object.
fn failed(site: &Site<'_>) -> (ObjectUse, Pfn) {
    pool(site, 1);
    let object = site.mm.new_huge_object(HugeSize::M2, HugeSize::M2.bytes()).unwrap();
    let request = MmapRequest { flags: MapFlags::SHARED, ..MmapRequest::anonymous(HugeSize::M2.bytes(), RW) };
    let va = site.mm.mmap_object(&site.space, &request, &object).unwrap();
    let pfn = site.touch(va).pfn().add(3);
    assert_eq!(site.mm.memory_failure(pfn), Ok(Outcome::Held));
    (object, pfn)
}

/// The first two folios of a pool's free list.
fn listed(site: &Site<'_>) -> [PageRef; 2] {
    pool(site, 2);
    let owned = [site.mm.hugetlb.steal(HugeSize::M2).unwrap(), site.mm.hugetlb.steal(HugeSize::M2).unwrap()];
    let heads = owned.each_ref().map(FolioRef::page);
    // The one given back last is in front.
    owned.into_iter().rev().for_each(|folio| hugetlb::free_folio(site.mm, folio));
    heads
}

/// Changes the entry for vmemmap page `n` of the folio at `head`, by a break.
fn remap(site: &Site<'_>, head: PageRef, n: u64, change: impl Fn(Desc) -> Desc) {
    let va = head.address().add(n * PAGE);
    site.mm.with_kernel_tree(|tree, flusher| {
        let entry = tree.entry(flusher, va, Level::L3).unwrap();
        let old = entry.desc();
        entry.break_live::<1>(|_, _| ()).flush().make(|_| change(old), |_, _| ()).keep();
    });
}

pub(super) const ROWS: &[Row] = &[
    ("a hugetlb page is a folio", small, |site| Some(site.block(9, PageKind::Hugetlb).pfn())),
    ("a hugetlb folio is of a size that has a pool", small, |site| Some(stray(site, 5).pfn())),
    ("mappings of a free hugetlb folio", small, |site| {
        let head = pool(site, 1);
        head.add_raw_mapcount(1);
        Some(head.pfn())
    }),
    ("references to a hugetlb folio", small, |site| {
        let [_, used] = mapped(site);
        used.get().leave();
        Some(used.pfn())
    }),
    ("the owner of a free hugetlb folio", small, |site| {
        let head = pool(site, 1);
        head.set_mapping(3, 4);
        Some(head.pfn())
    }),
    ("a hugetlb folio begins here", small, |site| {
        let (head, page) = (pool(site, 1), site.page());
        site.poke_next(head, Some(page));
        Some(page.pfn())
    }),
    ("references to a free hugetlb folio", small, |site| {
        let [free, used] = mapped(site);
        site.poke_next(free, Some(used));
        Some(used.pfn())
    }),
    ("the length of a list of the pool", small, |site| {
        pool(site, 2);
        let head = |page: &PageRef| page.kind() == PageKind::Hugetlb;
        let heads: Vec<_> = site.mm.ram()[0].iter().map(page_of).filter(head).collect();
        heads.into_iter().for_each(|head| site.poke_next(head, None));
        None
    }),
    ("a link back on a list of the pool", plain, |site| {
        let [front, behind] = listed(site);
        site.poke(behind, 20, 0);
        assert!(front != behind);
        Some(behind.pfn())
    }),
    ("nr_hugepages against hugetlb folios in memory", small, |site| {
        stray(site, 9);
        None
    }),
    ("free_hugepages against folios without references", small, |site| {
        let [_, used] = mapped(site);
        used.get().leave();
        site.mm.munmap(&site.space, BASE.raw(), 2 * MIB).unwrap();
        used.set_refcount(0);
        None
    }),
    ("surplus folios that nobody needs", small, |site| {
        site.mm.hugetlb.miscount_surplus(HugeSize::M2);
        None
    }),
    ("resv_hugepages against slots that wait for theirs", small, |site| {
        pool(site, 1);
        hugetlb::reserve(site.mm, HugeSize::M2, 1).unwrap();
        None
    }),
    ("huge pages promised beyond what is free", plain, |site| {
        pool(site, 1);
        site.map(0, 2 * MIB, MapFlags::HUGETLB);
        let stolen = site.mm.hugetlb.steal(HugeSize::M2).unwrap();
        site.mm.free_pages(stolen, Order::PMD);
        None
    }),
    ("the shared page of tails exists", small, |site| {
        site.mm.hvo.set_switch(site.mm, Switch::Off).unwrap();
        let head = pool(site, 1);
        head.set_flags(Flags::HVO);
        Some(head.pfn())
    }),
    ("the shared page at a tail's address", small, |site| {
        pool(site, 1);
        let head = stray(site, 9);
        head.set_flags(Flags::HVO);
        Some(head.pfn())
    }),
    ("a shared tail is read-only", small, |site| {
        let head = pool(site, 1);
        let writable = |old: Desc| old.flags(Level::L3).difference(PteFlags::READ_ONLY);
        remap(site, head, 3, |old| old.with_flags(Level::L3, writable(old)));
        Some(head.pfn())
    }),
    ("a vmemmap page of its own is writable", small, |site| {
        let head = pool(site, 1);
        head.clear_flags(Flags::HVO);
        Some(head.pfn())
    }),
    ("a folio that cannot be optimised is not", plain, |site| {
        let head = stray(site, 4);
        head.set_flags(Flags::HVO);
        Some(head.pfn())
    }),
    ("a vmemmap page of its own is mapped", plain, |site| {
        let head = pool(site, 1);
        remap(site, head, 3, |_| Desc::INVALID);
        Some(head.pfn())
    }),
    ("nr_hvo_optimized", small, |site| {
        site.mm.stats.inc(Counter::NrHvoOptimized);
        None
    }),
    ("nr_vmemmap_freed", small, |site| {
        site.mm.stats.inc(Counter::NrVmemmapFreed);
        None
    }),
    ("a word of the shared page of tails", small, |site| {
        pool(site, 1);
        let shared = site.mm.hvo.shared_tails(Order::PMD).unwrap();
        Machine::write_bytes(shared.add(5 * 64 + 32), &[1]);
        Some(shared.pfn())
    }),
    ("vmemmap pages that are mapped read-only", small, |site| {
        let block = site.block(9, PageKind::Kernel);
        remap(site, block, 3, |old| old.with_flags(Level::L3, old.flags(Level::L3) | PteFlags::READ_ONLY));
        None
    }),
    ("a folio has failed, or is on the list of those that have", plain, |site| {
        let head = pool(site, 1);
        head.set_flags(Flags::POISONED);
        Some(head.pfn())
    }),
    ("a failed frame that its folio does not know of", plain, |site| {
        let (_, pfn) = failed(site);
        page_of(pfn).head(site.mm.config.tails).clear_flags(Flags::POISONED);
        Some(pfn)
    }),
    ("a folio of which a page has failed has one", plain, |site| {
        let [_, used] = mapped(site);
        used.set_flags(Flags::POISONED);
        Some(used.pfn())
    }),
    ("failed frames on the list against those in folios", plain, |site| {
        let (_, pfn) = failed(site);
        site.mm.hugetlb.failed.damage(pfn);
        None
    }),
    ("frames that have failed", plain, |site| {
        site.page().set_kind(PageKind::Failed, Order::PAGE);
        None
    }),
    ("a marker is of a hugetlb page", small, |site| {
        let (va, _) = site.anon();
        site.make_user(va.add(PAGE), Level::L3, Desc::POISONED);
        None
    }),
    ("a hugetlb page has markers for all of it", small, |site| {
        let size = HugeSize::K64;
        assert_eq!(site.mm.hugetlb.set_nr(site.mm, size, 1).persistent, 1);
        let log = MapFlags::from_bits_retain(size.bytes().ilog2() << 26);
        let va = site.map(0, size.bytes(), MapFlags::HUGETLB | log);
        site.make_user(va, Level::L3, Desc::POISONED);
        None
    }),
];
