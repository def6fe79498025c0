//! Blocks that are cut.

use super::*;
use crate::page::page_of;
use crate::space::Advice;

/// A block at the first range, page `n` holding [`word`] of it.
fn with_block(f: impl FnOnce(&Site<'_>)) {
    with_site(threshold(1), |site| {
        site.store_all(0..RANGE_PAGES);
        assert!(site.is_block(0));
        f(site);
    });
}

/// munmap of a part frees exactly its pages (a table was needed), and the rest reads as before.
#[test]
fn munmap_of_a_part() {
    for part in [0..1, 511..512, 100..300] {
        with_block(|site| {
            let free = site.mm.free_page_count();
            let pages = part.end - part.start;
            site.mm.munmap(&site.space, va(part.start).raw(), pages * PAGE_SIZE).unwrap();
            assert_eq!(site.mm.free_page_count(), free + pages - 1);
            assert_eq!(site.get(Counter::ThpSplitPmd), 1);
            assert_eq!((site.get(Counter::NrAnon), site.get(Counter::NrAnonThp)), (RANGE_PAGES - pages, 0));
            for page in 0..RANGE_PAGES {
                if part.contains(&page) {
                    assert!(model::user_load(va(page)).is_err(), "page {page} is unmapped");
                } else {
                    assert_eq!(site.load(page).0, word(page));
                }
            }
        });
    }
}

/// MADV_DONTNEED of a part: zeros there, the rest as before.
#[test]
fn dontneed_of_a_part() {
    with_block(|site| {
        site.mm.madvise(&site.space, va(7).raw(), 3 * PAGE_SIZE, Advice::DontNeed).unwrap();
        site.assert_contents(|page| !(7..10).contains(&page));
    });
}

/// mprotect of a part: stores fail there and nowhere else.
#[test]
fn mprotect_of_a_part() {
    with_block(|site| {
        site.mm.mprotect(&site.space, va(7).raw(), PAGE_SIZE, MapProt::READ).unwrap();
        assert!(model::user_store(va(7), 1).is_err());
        site.store_all([6, 8]);
        site.assert_contents(|_| true);
    });
}

/// munmap of the whole block splits nothing.
#[test]
fn a_whole_block_is_not_split() {
    with_block(|site| {
        let free = site.mm.free_page_count();
        site.mm.munmap(&site.space, BASE.raw(), RANGE_BYTES).unwrap();
        assert_eq!(site.get(Counter::ThpSplitPmd), 0);
        assert!(site.mm.free_page_count() >= free + RANGE_PAGES);
    });
}

/// While somebody else holds the folio it cannot be dissolved: it is mapped by pages, and freed as a whole when the last
/// user is gone.
#[test]
fn a_referenced_folio_stays_one() {
    with_block(|site| {
        let head = page_of(site.leaf(0).unwrap().1.pfn());
        let held = head.try_get().unwrap();
        let free = site.mm.free_page_count();
        site.mm.munmap(&site.space, va(7).raw(), PAGE_SIZE).unwrap();
        site.mm.put_folio(held);
        site.check();
        let held = head.try_get().unwrap();
        assert_eq!(site.mm.free_page_count(), free - 1, "a page of a folio is not freed by itself");
        assert_eq!((head.order(), head.raw_mapcount()), (Order::PMD, RANGE_PAGES as u32 - 1));
        assert_eq!(site.load(8).0, word(8));
        site.mm.munmap(&site.space, BASE.raw(), RANGE_BYTES).unwrap();
        assert!(site.mm.free_page_count() < free + RANGE_PAGES);
        site.mm.put_folio(held);
        assert!(site.mm.free_page_count() >= free + RANGE_PAGES);
    });
}

/// Where there is no table for the pieces, the call fails and the block is as it was.
#[test]
fn without_a_table_nothing_changes() {
    with_block(|site| {
        crate::kalloc::inject::fail_nth(1);
        let result = crate::thp::split::split_at(site.mm, &site.space, va(7));
        assert!(crate::kalloc::inject::disarm());
        assert_eq!(result, Err(crate::error::OutOfMemory));
        assert!(site.is_block(0));
        site.assert_contents(|_| true);
    });
}

/// A block that was split and has lost nothing is not put together again by itself, and its pages are single ones.
#[test]
fn pieces_are_single_pages() {
    with_block(|site| {
        site.mm.mprotect(&site.space, va(7).raw(), PAGE_SIZE, MapProt::READ).unwrap();
        for page in 0..RANGE_PAGES {
            let single = page_of(site.leaf(page).unwrap().1.pfn());
            assert_eq!((single.order(), single.refcount(), single.raw_mapcount()), (Order::PAGE, 1, 1));
            assert_eq!(single.index(), va(page).raw() / PAGE_SIZE);
        }
    });
}
