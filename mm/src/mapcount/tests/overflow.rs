//! A count that is close to overflow refuses one mapping more, at the arithmetic of each scheme: beginning from a high
//! count, never by wrapping one.

use arch::{Level, Order, PhysAddr, VirtAddr};

use super::machine;
use crate::config::Mapcount;
use crate::mapcount::{CountFull, LIMIT, OwnerId, Run};
use crate::page::{PageKind, PageRef};

const VA: VirtAddr = VirtAddr::new(1 << 30);

/// `entries` entries from the folio's first page on, in a table that has no others.
fn run(head: PageRef, table: PhysAddr, level: Level, entries: u32) -> Run {
    let vma = (VA, VA.add(1 << 31));
    let owner = OwnerId::new(1).unwrap();
    Run { head, first: head, entries, level, table, top: table, va: VA, space: 1, owner, vma }
}

/// A folio that nothing maps, and an empty table.
fn with_folio(order: Order, f: impl FnOnce(PageRef, PhysAddr)) {
    machine().boot(|mm, _| {
        let folio = mm.alloc_pages(order, PageKind::Kernel).unwrap();
        let table = mm.alloc_table().unwrap();
        if order > Order::PAGE {
            folio.prep_compound(PageKind::Kernel, order, mm.config.tails);
        }
        f(folio.page(), table.address());
        mm.free_table(table);
        folio.set_raw_mapcount(0);
        mm.put_folio(folio);
    });
}

/// Leaf entries: 2^22 VMAs, each of which maps the 512 pages of 2 MiB, are one too many; 8192 that map 1 GiB by pages
/// are, too.
#[test]
fn entries_overflow_at_2_to_the_22_vmas() {
    for scheme in [Mapcount::RfcV2, Mapcount::Vmacount, Mapcount::MmOwner] {
        with_folio(Order::PMD, |head, table| {
            let vma = run(head, table, Level::L3, 512);
            for (vmas, each) in [(1 << 22, 512), (8192, 1 << 18)] {
                // All but the last VMA, which has all but its last table.
                head.set_raw_mapcount((vmas - 1) * each + each - 512);
                assert_eq!(u64::from(head.raw_mapcount()) + 512, u64::from(LIMIT));
                assert_eq!(scheme.may_add(&vma), Err(CountFull), "{scheme}");
                let shorter = Run { entries: 511, ..vma };
                assert_eq!(scheme.may_add(&shorter), Ok(()));
            }
            head.set_raw_mapcount(u32::MAX);
            assert_eq!(scheme.may_add(&vma), Err(CountFull), "beyond what is counted");
        });
    }
}

/// Pages in sum: 8192 blocks of 1 GiB are one too many, though they are 8192 entries; and so are 2^22 blocks of 2 MiB.
#[test]
fn pages_in_sum_overflow_by_blocks() {
    with_folio(Order::PMD, |head, table| {
        let block = run(head, table, Level::L2, 1);
        let gigabyte = run(head, table, Level::L1, 1);
        for (one, pages) in [(gigabyte, 1 << 18), (block, 1 << 9)] {
            head.set_raw_mapcount(LIMIT / pages - 1);
            head.first_tail().set_sum(LIMIT - pages);
            assert_eq!(Mapcount::TotalMapped.may_add(&one), Err(CountFull));
            head.first_tail().set_sum(LIMIT - pages - 1);
            assert_eq!(Mapcount::TotalMapped.may_add(&one), Ok(()));
            assert_eq!(Mapcount::RfcV2.may_add(&one), Ok(()), "one entry");
        }
        head.first_tail().set_sum(0);
    });
}

/// Top entries, and pairs: 2^31 spaces, or VMAs; page entries of one that is counted add nothing.
#[test]
fn tops_overflow_at_2_to_the_31() {
    for scheme in [Mapcount::RfcV1, Mapcount::RfcV1Counted, Mapcount::VmaPt] {
        with_folio(Order::PMD, |head, table| {
            let all = run(head, table, Level::L3, 512);
            head.set_raw_mapcount(LIMIT - 2);
            assert_eq!(scheme.may_add(&all), Ok(()));
            head.set_raw_mapcount(LIMIT - 1);
            assert_eq!(scheme.may_add(&all), Err(CountFull), "{scheme}");
        });
    }
}

/// Counters of pages: each by itself, so one page that is full refuses a run in which it is.
#[test]
fn one_full_page_refuses_the_run() {
    with_folio(Order::PMD, |head, table| {
        let all = run(head, table, Level::L3, 512);
        head.nth(300).set_raw_mapcount(LIMIT - 1);
        assert_eq!(Mapcount::ThpLike.may_add(&all), Err(CountFull));
        assert_eq!(Mapcount::ThpLike.may_add(&Run { entries: 300, ..all }), Ok(()));
        assert_eq!(Mapcount::ThpLike.may_add(&run(head, table, Level::L2, 1)), Ok(()));
        head.nth(300).set_raw_mapcount(0);
    });
}

/// A single page is full at the same number, whatever counts it.
#[test]
fn a_single_page_is_full_too() {
    for &scheme in Mapcount::ALL {
        with_folio(Order::PAGE, |page, table| {
            let one = run(page, table, Level::L3, 1);
            page.set_raw_mapcount(LIMIT - 2);
            assert_eq!(scheme.may_add(&one), Ok(()));
            page.set_raw_mapcount(LIMIT - 1);
            assert_eq!(scheme.may_add(&one), Err(CountFull), "{scheme}");
        });
    }
}
