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

/// munmap of a part frees no page of the folio yet (and a table was needed); the rest reads as before, and goes with
/// the folio when it is unmapped too.
#[test]
fn munmap_of_a_part() {
    for part in [0..1, 511..512, 100..300] {
        with_block(|site| {
            let free = site.mm.free_page_count();
            let pages = part.end - part.start;
            site.mm.munmap(&site.space, va(part.start).raw(), pages * PAGE_SIZE).unwrap();
            assert_eq!(site.mm.free_page_count(), free - 1);
            assert_eq!(site.get(Counter::ThpSplitPmd), 1);
            assert_eq!((site.get(Counter::NrAnon), site.get(Counter::NrAnonThp)), (RANGE_PAGES - pages, 0));
            for page in 0..RANGE_PAGES {
                if part.contains(&page) {
                    assert!(model::user_load(va(page)).is_err(), "page {page} is unmapped");
                } else {
                    assert_eq!(site.load(page).0, word(page));
                }
            }
            site.mm.munmap(&site.space, BASE.raw(), RANGE_BYTES).unwrap();
            assert!(site.mm.free_page_count() >= free + RANGE_PAGES);
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

/// Who holds the folio keeps all of it, mapped or not.
#[test]
fn a_referenced_folio_stays_one() {
    with_block(|site| {
        let head = page_of(site.leaf(0).unwrap().1.pfn());
        let held = head.try_get().unwrap();
        let free = site.mm.free_page_count();
        site.mm.munmap(&site.space, va(7).raw(), PAGE_SIZE).unwrap();
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

/// A block that was split and has lost nothing is not put together again by itself: one folio, a reference and a
/// mapping for each of its entries.
#[test]
fn pieces_are_one_folio() {
    with_block(|site| {
        let head = page_of(site.leaf(0).unwrap().1.pfn());
        site.mm.mprotect(&site.space, va(7).raw(), PAGE_SIZE, MapProt::READ).unwrap();
        let all = RANGE_PAGES as u32;
        assert_eq!((head.order(), head.refcount(), head.raw_mapcount()), (Order::PMD, all, all));
        for page in 0..RANGE_PAGES {
            assert_eq!(page_of(site.leaf(page).unwrap().1.pfn()), head.nth(page));
        }
        assert_eq!(head.index(), BASE.raw() / PAGE_SIZE);
    });
}
