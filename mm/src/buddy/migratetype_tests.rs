//! What cannot move gathers in few pageblocks, whatever is asked for in what order.
#![forbid(unsafe_code)]

use std::collections::BTreeSet;

use arch::{Order, Pfn};

use super::migratetype::{MigrateType, PAGEBLOCK};
use crate::Mm;
use crate::page::{FolioRef, PageKind};
use crate::testkit::{self, Builder, Random};

const MOVABLE: PageKind = PageKind::Shmem;
const TABLE: PageKind = PageKind::Table;

fn machine(mib: u64) -> Builder {
    Builder::new().ram_mib(mib).cpus(1)
}

fn pageblock(pfn: Pfn) -> Pfn {
    pfn.align_down(PAGEBLOCK)
}

fn unmovable(mm: &Mm) -> u64 {
    mm.drain_cpu_lists();
    mm.zones()[0].unmovable_pageblocks()
}

fn page(mm: &Mm, kind: PageKind) -> FolioRef {
    mm.alloc_pages(Order::PAGE, kind).unwrap()
}

/// Tables that are asked for between pages of objects, and given back in any order, stand in few pageblocks; without
/// types they would stand in nearly all.
#[test]
fn tables_gather() {
    let mut random = Random::for_test("tables_gather", 41);
    machine(64).boot(|mm, _| {
        let (mut tables, mut pages, at_boot) = (Vec::new(), Vec::new(), unmovable(mm));
        let most = mm.free_page_count() * 3 / 4;
        for _ in 0..40_000 {
            let held = (tables.len() + pages.len()) as u64;
            match random.below(32) {
                0..=1 if held < most => tables.push(page(mm, TABLE)),
                2..=18 if held < most => pages.push(page(mm, MOVABLE)),
                19 => drop(random.take(&mut tables).map(|one| mm.put_folio(one))),
                _ => drop(random.take(&mut pages).map(|one| mm.put_folio(one))),
            }
        }
        let blocks: BTreeSet<_> = tables.iter().map(|table| pageblock(table.pfn())).collect();
        let least = (tables.len() as u64).div_ceil(PAGEBLOCK.pages());
        println!("{} tables in {} of 32 pageblocks, {} pages", tables.len(), blocks.len(), pages.len());
        assert!(tables.len() > 1000, "{} tables", tables.len());
        assert!(
            blocks.len() as u64 <= least + at_boot + 1,
            "{} pageblocks for {}",
            blocks.len(),
            tables.len()
        );
        tables.into_iter().chain(pages).for_each(|one| mm.put_folio(one));
        assert_eq!(unmovable(mm), at_boot, "all of memory is free, and movable again");
        testkit::check(mm);
    });
}

/// What boot has left room beside is used up first. Then a table makes one pageblock unmovable, and those that follow
/// stand in the same; pages that can move go on elsewhere.
#[test]
fn a_free_pageblock_is_taken_whole() {
    machine(32).boot(|mm, _| {
        let (at_boot, now) = (unmovable(mm), || mm.zones()[0].unmovable_pageblocks());
        let mut tables = Vec::new();
        while now() == at_boot {
            tables.push(page(mm, TABLE));
        }
        tables.extend((0..400).map(|_| page(mm, TABLE)));
        let others: Vec<_> = (0..400).map(|_| page(mm, MOVABLE)).collect();
        assert_eq!(unmovable(mm), at_boot + 1);
        let blocks: BTreeSet<_> = tables.iter().map(|table| pageblock(table.pfn())).collect();
        assert!(blocks.len() as u64 <= at_boot + 1);
        assert!(others.iter().all(|page| !blocks.contains(&pageblock(page.pfn()))));
        tables.into_iter().chain(others).for_each(|one| mm.put_folio(one));
        assert_eq!(unmovable(mm), at_boot);
    });
}

/// Memory that is all of one type serves requests of the other to the last page.
#[test]
fn either_type_has_all_of_memory() {
    for kinds in [[MOVABLE, TABLE], [TABLE, MOVABLE]] {
        machine(16).boot(|mm, _| {
            let mut held: Vec<_> =
                std::iter::from_fn(|| mm.alloc_pages(Order::PAGE, kinds[0]).ok()).collect();
            let mut random = Random::for_test("either_type_has_all_of_memory", 5);
            for _ in 0..1000 {
                random.take(&mut held).into_iter().for_each(|one| mm.put_folio(one));
            }
            let free = mm.free_page_count() - mm.watermarks().floor(super::Reserve::of(kinds[1]));
            let other: Vec<_> = std::iter::from_fn(|| mm.alloc_pages(Order::PAGE, kinds[1]).ok()).collect();
            assert_eq!(other.len() as u64, free, "{kinds:?}");
            held.into_iter().chain(other).for_each(|one| mm.put_folio(one));
            testkit::check(mm);
        });
    }
}

/// Where no pageblock is free, a table goes into one of which half is free, and that becomes unmovable with all that is
/// free there; one that is nearly full stays movable.
#[test]
fn half_a_pageblock_is_claimed() {
    for (freed, claimed) in [(300, 1), (100, 0)] {
        machine(16).boot(|mm, _| {
            let held: Vec<_> = std::iter::from_fn(|| mm.alloc_pages(Order::PAGE, MOVABLE).ok()).collect();
            let reserve: Vec<_> = std::iter::from_fn(|| mm.alloc_pages(Order::PAGE, TABLE).ok()).collect();
            let blocks =
                |held: &[FolioRef], at: Pfn| held.iter().filter(|p| pageblock(p.pfn()) == at).count();
            let full = held.iter().map(|p| pageblock(p.pfn())).find(|&at| blocks(&held, at) == 512).unwrap();
            let before = unmovable(mm);
            let (inside, outside): (Vec<_>, Vec<_>) = held
                .into_iter()
                .partition(|p| pageblock(p.pfn()) == full && p.pfn().offset_from(full) < freed);
            inside.into_iter().for_each(|one| mm.put_folio(one));
            mm.drain_cpu_lists();
            let table = page(mm, TABLE);
            assert_eq!(pageblock(table.pfn()), full);
            assert_eq!(unmovable(mm), before + claimed, "{freed} of 512 were free");
            outside.into_iter().chain(reserve).chain([table]).for_each(|one| mm.put_folio(one));
        });
    }
}

/// What compaction moves goes to no pageblock that is unmovable, but to others of which a part is used.
#[test]
fn compaction_keeps_off_unmovable_pageblocks() {
    machine(16).boot(|mm, _| {
        let (table, other) = (page(mm, TABLE), page(mm, MOVABLE));
        mm.drain_cpu_lists();
        let bank = mm.ram()[0];
        let high: Vec<_> = std::iter::from_fn(|| mm.alloc_high(bank.start, bank.end)).collect();
        let inside =
            |at: &FolioRef| high.iter().filter(|p| pageblock(p.pfn()) == pageblock(at.pfn())).count();
        assert!(inside(&table) == 0 && inside(&other) > 64, "{}, {}", inside(&table), inside(&other));
        high.into_iter().chain([table, other]).for_each(|one| mm.put_folio(one));
    });
}

/// The type of a request follows from what the memory is for.
#[test]
fn kinds_have_types() {
    let movable: Vec<_> =
        PageKind::ALL.iter().copied().filter(|&kind| MigrateType::of(kind) == MigrateType::Movable).collect();
    assert_eq!(movable, [PageKind::Anon, PageKind::ThpReserved, PageKind::Hugetlb, PageKind::Shmem]);
}
