//! Blocks at the first fault.

use super::*;
use crate::config::ThpMode;
use crate::space::Advice;

/// Threshold 1 is the classic huge page: the first write makes the block, zeroed, and nothing is reserved or queued.
#[test]
fn threshold_one() {
    with_site(threshold(1), |site| {
        site.store(77);
        assert!(site.is_block(0));
        site.assert_contents(|page| page == 77);
        assert_eq!(site.get(Counter::ThpFaultAlloc), 1);
        assert_eq!(site.get(Counter::ThpResAlloc), 0);
        assert_eq!((site.get(Counter::NrAnon), site.get(Counter::NrAnonThp)), (RANGE_PAGES, 1));
        assert_eq!(site.drain(), 0);
    });
}

/// `always` does the same; `madvise` only where it was asked for; `never` never.
#[test]
fn modes() {
    for (mode, advised, huge) in [
        (ThpMode::Always, false, true),
        (ThpMode::Madvise, false, false),
        (ThpMode::Madvise, true, true),
        (ThpMode::Never, true, false),
    ] {
        with_site(threshold(256), |site| {
            site.mm.thp.set_mode(mode);
            if advised {
                site.mm.madvise(&site.space, BASE.raw(), RANGE_BYTES, Advice::HugePage).unwrap();
            }
            site.store(3);
            assert_eq!(site.is_block(3), huge, "{mode}, advised: {advised}");
            site.assert_contents(|page| page == 3);
        });
    }
}

/// A range that was read while it could not be huge has a table; its first write gets a small page, and allocates
/// nothing else: a block of 2 MiB would be zeroed in vain.
#[test]
fn a_range_with_a_table_stays_small() {
    with_site(threshold(1), |site| {
        site.mm.thp.set_mode(ThpMode::Never);
        assert_eq!(site.load(1), (0, 0));
        site.mm.thp.set_mode(ThpMode::Always);
        crate::kalloc::inject::fail_nth(2);
        site.store(2);
        assert!(!crate::kalloc::inject::disarm(), "more than a page was allocated");
        assert!(!site.is_block(2));
        site.assert_contents(|page| page == 2);
    });
}

/// Without a free block the page is small.
#[test]
fn without_a_block_the_page_is_small() {
    with_site(threshold(1), |site| {
        let mm = site.mm;
        let blocks: Vec<_> =
            std::iter::from_fn(|| mm.alloc_pages(Order::PMD, PageKind::Kernel).ok()).collect();
        site.store(5);
        assert!(!site.is_block(5));
        blocks.into_iter().for_each(|block| mm.free_pages(block, Order::PMD));
    });
}

/// Where single pages are free and no block is, a fault takes a small page and does not compact all of memory first, for a
/// huge page or for a reservation; where MADV_HUGEPAGE asks for one it compacts, and takes a small page if that was in
/// vain.
#[test]
fn memory_is_compacted_where_that_was_asked_for() {
    for (mode, stalls) in [(ThpMode::Always, 1), (ThpMode::Reserve, 0)] {
        with_site(threshold(40).config(|config| config.thp = mode), |site| {
            let mm = site.mm;
            let blocks: Vec<_> =
                std::iter::from_fn(|| mm.alloc_pages(Order::PMD, PageKind::Kernel).ok()).collect();
            let pages: Vec<_> =
                blocks.into_iter().flat_map(|block| mm.split_page(block, Order::PMD)).collect();
            let (odd, even): (Vec<_>, Vec<_>) = pages.into_iter().partition(|page| page.pfn().raw() % 2 == 1);
            odd.into_iter().for_each(|page| mm.put_folio(page));
            site.store(0);
            assert_eq!((site.is_block(0), site.get(Counter::CompactStall)), (false, 0), "{mode:?}");
            let second = va(RANGE_PAGES).raw();
            mm.madvise(&site.space, second, RANGE_BYTES, Advice::HugePage).unwrap();
            site.store(RANGE_PAGES);
            assert_eq!(
                (site.is_block(RANGE_PAGES), site.get(Counter::CompactStall)),
                (false, stalls),
                "{mode:?}"
            );
            even.into_iter().for_each(|page| mm.put_folio(page));
        });
    }
}
