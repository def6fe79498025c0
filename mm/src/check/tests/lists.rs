//! Damage to free lists and to the struct pages of blocks.

use core::sync::atomic::Ordering;

use arch::{Order, Pfn, PhysAddr};

use super::*;
use crate::buddy::{MAX_ORDER, MigrateType};
use crate::page::{Flags, page_of};

/// Where `reserved` keeps a page: the last 8 MiB that begin in a bank of 28 MiB.
const KEPT: u64 = 0x4000_0000 + 24 * MIB;

/// A bank of 28 MiB with two reserved pages.
fn reserved() -> Builder {
    small().bank(0x4000_0000, 0x4000_0000 + 28 * MIB).reserve(KEPT, KEPT + 2 * PAGE)
}

fn kept() -> PageRef {
    page_of(PhysAddr::new(KEPT).pfn())
}

/// Gives a reserved page another kind and order.
fn disguise(page: PageRef, kind: PageKind, order: u8) -> Option<Pfn> {
    page.set_kind(kind, Order::new(order));
    Some(page.pfn())
}

/// The first free block of RAM.
fn free_block(site: &Site<'_>) -> PageRef {
    let free = |page: &PageRef| page.kind() == PageKind::Buddy && page.order() > Order::new(2);
    site.mm.ram().iter().flat_map(|bank| bank.iter()).map(page_of).find(free).unwrap()
}

/// Makes a given-out block look free.
fn disown(page: PageRef, kind: PageKind) -> PageRef {
    let order = page.order();
    page.set_refcount(0);
    page.set_kind(kind, order);
    page
}

/// Two pages that are neighbours on CPU 0's list: the one in front, and the next.
fn cached(site: &Site<'_>) -> (PageRef, PageRef) {
    let (behind, front) = (site.page(), site.page());
    for page in [behind, front] {
        site.mm.free_pages(FolioRef::from_raw(page), Order::PAGE);
    }
    (front, behind)
}

pub(super) const ROWS: &[Row] = &[
    ("the first page of a block is a tail", reserved, |_| disguise(kept(), PageKind::Tail, 0)),
    ("a block has its natural alignment", reserved, |_| disguise(kept().nth(1), PageKind::Reserved, 1)),
    ("a block ends inside its bank", reserved, |_| disguise(kept(), PageKind::Reserved, 11)),
    ("reserved pages", reserved, |_| {
        kept().set_kind(PageKind::Kernel, Order::PAGE);
        None
    }),
    ("the kind of a page on a free list", small, |site| disguise(free_block(site), PageKind::Kernel, 0)),
    ("the order of a block on a free list", small, |site| disguise(free_block(site), PageKind::Buddy, 1)),
    ("the length of a free list", small, |site| {
        let (front, _) = cached(site);
        site.poke_next(front, None);
        None
    }),
    ("a link back on a free list", small, |site| {
        let (_, behind) = cached(site);
        site.poke(behind, 20, 0);
        Some(behind.pfn())
    }),
    ("pages on a CPU's list beyond its bound", small, |site| {
        let pages: Vec<_> = (0..200).map(|_| site.page()).collect();
        pages.into_iter().for_each(|page| site.mm.zone.cache_anyway(disown(page, PageKind::Free)));
        None
    }),
    ("a free block on the list of another type", small, |site| {
        let half = Order::new(8);
        let block = site.block(half.raw(), PageKind::Shmem).pfn();
        site.mm.zone.retype(block, MigrateType::Unmovable);
        Some(Pfn::new(block.raw() ^ half.pages()))
    }),
    ("references to a free page", small, |site| {
        free_block(site).nth(3).set_refcount(1);
        Some(free_block(site).nth(3).pfn())
    }),
    ("mappings of a free page", small, |site| {
        free_block(site).add_raw_mapcount(1);
        Some(free_block(site).pfn())
    }),
    ("the owner of a free page", small, |site| {
        free_block(site).set_mapping(1, 2);
        Some(free_block(site).pfn())
    }),
    ("the kind of a page inside a block", small, |site| {
        disguise(site.block(2, PageKind::Kernel).nth(3), PageKind::Table, 0)
    }),
    ("a tail leads to its head", small, |site| {
        let head = site.block(3, PageKind::Kernel);
        head.prep_compound(PageKind::Kernel, Order::new(3), site.mm.config.tails);
        head.nth(5).make_tails(1, !0x3f | 1);
        Some(head.nth(5).pfn())
    }),
    ("a free block above the largest order", small, |site| {
        let blocks: Vec<_> = (0..4).map(|_| site.block(MAX_ORDER.raw(), PageKind::Kernel)).collect();
        let block = blocks.into_iter().find(|block| block.pfn().is_aligned(Order::new(11))).unwrap();
        block.set_refcount(0);
        disguise(block, PageKind::Buddy, 11)
    }),
    ("a free block beside its free buddy", small, |site| {
        let blocks: Vec<_> = (0..64).map(|_| site.block(4, PageKind::Kernel)).collect();
        let pair =
            |first: &&PageRef| first.pfn().is_aligned(Order::new(5)) && blocks.contains(&first.nth(16));
        let first = *blocks.iter().find(pair).unwrap();
        let second = first.nth(16);
        site.mm.free_pages(FolioRef::from_raw(first), Order::new(4));
        disown(second, PageKind::Buddy);
        Some(first.pfn())
    }),
    ("blocks on a free list against free blocks in memory", small, |site| {
        let pair = site.block(1, PageKind::Kernel);
        let mut singles = site.mm.split_page(FolioRef::from_raw(pair), Order::new(1));
        singles.by_ref().for_each(|page| page.leave());
        disown(pair, PageKind::Buddy);
        None
    }),
    ("pages on CPUs' lists against such pages in memory", small, |site| {
        disown(site.page(), PageKind::Free);
        None
    }),
    ("the zone's count of free pages", small, |site| {
        site.mm.zone.free_count().fetch_add(1, Ordering::Relaxed);
        None
    }),
    ("a head of this kind or order", reserved, |_| {
        kept().set_flags(Flags::HEAD);
        Some(kept().pfn())
    }),
    ("an optimised page that is no hugetlb folio", small, |site| {
        let page = site.page();
        page.set_flags(Flags::HVO);
        Some(page.pfn())
    }),
    ("a kernel page has a reference", small, |site| {
        let page = site.page();
        page.set_refcount(0);
        Some(page.pfn())
    }),
    ("references to a page with one owner", reserved, |_| {
        kept().get().leave();
        Some(kept().pfn())
    }),
    ("mappings of a page that no user maps", reserved, |_| {
        kept().add_raw_mapcount(1);
        Some(kept().pfn())
    }),
    ("leaves that map pages of the kernel, and their counts", small, |site| {
        site.page().add_raw_mapcount(1);
        None
    }),
];

#[test]
fn damage_to_lists_is_found() {
    run(ROWS);
}
