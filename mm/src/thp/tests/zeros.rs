//! The block of zeros.

use super::*;
use crate::config::ThpMode;
use crate::page::PageKind;
use crate::space::Advice;

fn classic() -> Builder {
    threshold(1)
}

/// A read maps the block of zeros, for all ranges the same and counted nowhere; a write replaces it by a huge page.
#[test]
fn a_read_maps_a_block_and_a_write_replaces_it() {
    with_site(classic(), |site| {
        (0..3).for_each(|range| assert_eq!(site.load(range * RANGE_PAGES + 9), (0, 0)));
        let zeros = site.leaf(0);
        assert!(site.is_block(0) && site.leaf(RANGE_PAGES) == zeros);
        assert_eq!(site.mm.usage(&site.space).zero_huge, 3 * RANGE_PAGES);
        assert_eq!((site.get(Counter::NrAnon), site.get(Counter::NrAnonThp)), (0, 0));
        site.store(77);
        assert!(site.is_block(77) && site.leaf(77) != zeros);
        site.assert_contents(|page| page == 77);
        assert_eq!((site.get(Counter::NrAnon), site.get(Counter::NrAnonThp)), (RANGE_PAGES, 1));
        assert_eq!(site.leaf(RANGE_PAGES), zeros, "the others read on");
        site.check();
    });
}

/// Where a part is unmapped, or gets other rights, or a write may have no huge page, the block becomes pages of zeros.
#[test]
fn a_part_of_it() {
    for part in 0..3 {
        with_site(classic(), |site| {
            let (mm, space) = (site.mm, &site.space);
            assert_eq!(site.load(1), (0, 0));
            let (at, len) = (va(8).raw(), 8 * PAGE_SIZE);
            match part {
                0 => mm.munmap(space, at, len).unwrap(),
                1 => mm.mprotect(space, at, len, MapProt::READ).unwrap(),
                _ => mm.madvise(space, BASE.raw(), RANGE_BYTES, Advice::NoHugePage).unwrap(),
            }
            site.check();
            site.store(3);
            assert!(!site.is_block(3));
            assert_eq!((site.load(3), site.load(4), site.load(500)), ((word(3), 0), (0, 0), (0, 0)));
            assert_eq!(site.get(Counter::NrAnon), 1);
        });
    }
}

/// Without a free block the read sees the page of zeros, and the write of a range with the block of zeros gets a small
/// page.
#[test]
fn without_a_block() {
    for read_first in [false, true] {
        with_site(classic(), |site| {
            let mm = site.mm;
            if read_first {
                assert_eq!(site.load(1), (0, 0));
            }
            let take = || mm.alloc_pages(Order::PMD, PageKind::Kernel).ok();
            let blocks: Vec<_> = std::iter::from_fn(take).collect();
            assert_eq!(site.load(2), (0, 0));
            assert_eq!(site.is_block(2), read_first);
            site.store(2);
            assert!(!site.is_block(2));
            site.assert_contents(|page| page == 2);
            blocks.into_iter().for_each(|block| mm.free_pages(block, Order::PMD));
        });
    }
}

/// fork shares it like any leaf; who writes first has a huge page of his own, and the other reads zeros.
#[test]
fn fork_shares_it() {
    with_site(classic(), |site| {
        let mm = site.mm;
        assert_eq!(site.load(1), (0, 0));
        let child = mm.fork_space(&site.space).unwrap();
        site.check();
        site.store(5);
        let mut byte = [1];
        mm.read_user(&child, va(5), &mut byte).unwrap();
        assert_eq!((byte, mm.usage(&child).zero_huge), ([0], RANGE_PAGES));
        mm.write_user(&child, va(6), &[3]).unwrap();
        assert_eq!((mm.usage(&child).anon_huge, site.load(6)), (RANGE_PAGES, (0, 0)));
        mm.destroy_space(&child);
    });
}

/// A change of mode does not strand a range that was read as a block: its first write reserves.
#[test]
fn reservations_come_after_it() {
    with_site(threshold(256), |site| {
        site.mm.thp.set_mode(ThpMode::Always);
        assert_eq!(site.load(1), (0, 0));
        site.mm.thp.set_mode(ThpMode::Reserve);
        site.store(1);
        assert_eq!((site.get(Counter::ThpResAlloc), site.is_block(1)), (1, false));
        site.assert_contents(|page| page == 1);
    });
}

/// With `use_zero_page` of 0 a first read gets a huge page of its own, which a write then finds; with 1 a block of zeros.
#[test]
fn a_read_without_the_block_of_zeros() {
    for used in [0, 1] {
        with_site(threshold(512).config(|config| config.thp = crate::config::ThpMode::Always), |site| {
            site.mm.thp.set(crate::config::Number::UseZeroPage, used).unwrap();
            assert_eq!(site.load(3), (0, 0));
            assert!(site.is_block(3));
            assert_eq!(
                (site.get(Counter::ThpFaultAlloc), site.get(Counter::NrAnonThp)),
                (1 - used, 1 - used)
            );
            let faults = site.get(Counter::PgFault);
            site.store(3);
            assert_eq!(site.get(Counter::PgFault) - faults, used, "the huge page may be written");
            site.assert_contents(|page| page == 3);
            assert_eq!(site.get(Counter::ThpFaultAlloc), 1);
        });
    }
}
