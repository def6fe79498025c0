//! Memory in one piece: ranges that are emptied, blocks that compaction makes.

use arch::{Machine, Order, Pfn, PhysMem};

use super::family::*;
use crate::Mm;
use crate::config::ThpMode;
use crate::hugetlb::HugeSize;
use crate::kalloc::KArc;
use crate::page::{PageKind, page_of};
use crate::rmap::{ContigError, compact_zone};
use crate::space::{AddressSpace, Advice, MapFlags};
use crate::stats::Counter;
use crate::testkit;

/// Pages of the space that fill nearly all of memory, each with its number.
fn fill(mm: &Mm, space: &KArc<AddressSpace>, pages: u64) {
    (0..pages).for_each(|n| store(mm, space, n, n + 1));
}

/// Discards all but every `keep`th page, so that memory is free in crumbs.
fn crumble(mm: &Mm, space: &KArc<AddressSpace>, pages: u64, keep: u64) {
    for n in (0..pages).filter(|n| n % keep != 0) {
        mm.madvise(space, va(n).raw(), 4096, Advice::DontNeed).unwrap();
    }
}

fn assert_kept(mm: &Mm, space: &KArc<AddressSpace>, pages: u64, keep: u64) {
    for n in (0..pages).step_by(keep as usize) {
        assert_eq!(load(mm, space, n), n + 1, "page {n}");
    }
}

/// A machine whose free memory is in crumbs, and a space that keeps every eighth page of it.
fn crumbs(f: impl FnOnce(&Mm, &KArc<AddressSpace>, u64)) {
    machine(ThpMode::Never).boot(|mm, _| {
        let pages = mm.free_page_count() - mm.watermarks().high - 200;
        let space = space(mm, pages, MapFlags::empty());
        fill(mm, &space, pages);
        crumble(mm, &space, pages, 8);
        f(mm, &space, pages);
        assert_kept(mm, &space, pages, 8);
        testkit::check(mm);
        mm.destroy_space(&space);
    });
}

/// Blocks of 2 MiB are gone, then compaction makes at least one, and what was written is still there.
#[test]
fn compaction_makes_a_block() {
    crumbs(|mm, _, _| {
        mm.drain_cpu_lists();
        let large = |mm: &Mm| mm.buddyinfo()[9..].iter().sum::<u64>();
        // What is left of a block, so that there is none.
        let last: Vec<_> = std::iter::from_fn(|| {
            (large(mm) != 0).then(|| mm.alloc_pages(Order::PMD, PageKind::Kernel).unwrap())
        })
        .collect();
        let done = compact_zone(mm, Order::PMD);
        assert!(large(mm) != 0 && done.moved != 0, "{done:?}");
        assert!(mm.stats.get(Counter::PgMigrateSuccess) >= done.moved);
        last.into_iter().for_each(|block| mm.free_pages(block, Order::PMD));
    });
}

/// An allocation of 2 MiB compacts by itself, and is passed over for a while where that is in vain.
#[test]
fn an_allocation_compacts() {
    crumbs(|mm, _, _| {
        let mut blocks = Vec::new();
        while let Ok(block) = mm.alloc_pages(Order::PMD, PageKind::Hugetlb) {
            blocks.push(block);
        }
        assert!(mm.stats.get(Counter::CompactSuccess) > 3);
        let stalls = mm.stats.get(Counter::CompactStall);
        for _ in 0..4 {
            assert!(mm.alloc_pages(Order::PMD, PageKind::Anon).is_err());
        }
        assert!(mm.stats.get(Counter::CompactStall) <= stalls + 3, "none of four was passed over");
        blocks.into_iter().for_each(|block| mm.free_pages(block, Order::PMD));
    });
}

/// Four MiB, and eight, which no free list has, out of crumbs: naturally aligned, writable, given back like any block.
#[test]
fn a_piece_larger_than_any_block() {
    crumbs(|mm, space, pages| {
        for order in [9, 10, 11].map(Order::new) {
            let free = mm.free_page_count();
            let block = mm
                .alloc_contig(order, PageKind::Kernel)
                .unwrap_or_else(|why| panic!("order {}: {why}", order.raw()));
            assert!(block.pfn().is_aligned(order));
            assert_eq!((block.refcount(), block.order(), block.kind()), (1, order, PageKind::Kernel));
            assert_eq!(mm.free_page_count(), free - order.pages());
            Machine::zero(block.pfn().phys(), order.bytes());
            testkit::check(mm);
            assert_kept(mm, space, pages, 8);
            mm.free_pages(block, order);
            testkit::check(mm);
            assert_eq!(mm.free_page_count(), free);
        }
    });
}

/// A range with folios of 2 MiB, pages of a reservation and a hugetlb folio is emptied too; one with kernel memory, a
/// pin or somebody's reference is not, and stays as it was.
#[test]
fn what_can_be_emptied() {
    machine(ThpMode::Always).boot(|mm, _| {
        let _ = mm.hugetlb.set_nr(mm, HugeSize::M2, 2);
        let space = space(mm, 2 * PAGES, MapFlags::empty());
        store(mm, &space, 5, 5);
        let first = |n| page(mm, &space, n).1.pfn().align_down(Order::PMD);
        let at = first(5);
        let block = mm.alloc_contig_at(at, Order::PMD, PageKind::Kernel).unwrap();
        assert_eq!((load(mm, &space, 5), block.pfn()), (5, at));
        assert_ne!(first(5), at);
        mm.free_pages(block, Order::PMD);

        mm.thp.set_mode(ThpMode::Reserve);
        store(mm, &space, PAGES + 3, 6);
        let at = first(PAGES + 3);
        let block = mm.alloc_contig_at(at, Order::PMD, PageKind::Kernel).unwrap();
        assert_eq!((load(mm, &space, PAGES + 3), mm.stats.get(Counter::NrThpReserved)), (6, 0));
        mm.free_pages(block, Order::PMD);

        let (_, head) = page(mm, &space, 5);
        let refuse = |pfn: Pfn| mm.alloc_contig_at(pfn, Order::PMD, PageKind::Kernel).unwrap_err();
        let held = head.try_get().unwrap();
        assert!(matches!(refuse(head.pfn()), ContigError::InUse(..)));
        head.set_pincount(1);
        assert_eq!(refuse(head.pfn()), ContigError::Fixed(head.pfn()));
        head.set_pincount(0);
        mm.put_folio(held);
        let kernel = mm.alloc_pages(Order::PAGE, PageKind::Kernel).unwrap();
        assert_eq!(
            refuse(kernel.pfn().align_down(Order::PMD)),
            ContigError::Fixed(
                (0..512)
                    .map(|n| kernel.pfn().align_down(Order::PMD).add(n))
                    .find(|&pfn| !matches!(page_of(pfn).kind(), PageKind::Buddy | PageKind::Free))
                    .unwrap()
            )
        );
        mm.put_folio(kernel);
        assert_eq!(refuse(Pfn::new(1)), ContigError::Range);
        testkit::check(mm);
        mm.destroy_space(&space);
        let _ = mm.hugetlb.set_nr(mm, HugeSize::M2, 0);
    });
}
