//! The buddy allocator on the machine.

use arch::Order;
use mm::Mm;
use mm::buddy::MAX_ORDER;
use mm::check::Report;
use mm::hugetlb::HugeSize;
use mm::kalloc::KArc;
use mm::page::PageKind;
use mm::space::{AddressSpace, MapFlags, MapProt, MmapRequest};

use super::kit::Blocks;
use crate::selftest::{Failure, NotPassed, Verdict, check, check_eq, selftest};

selftest!("buddy::blocks_are_aligned_and_apart", blocks_are_aligned_and_apart);
selftest!("buddy::split_page_frees_singly", split_page_frees_singly);
selftest!("buddy::memory_runs_out_with_an_error_and_comes_back", memory_runs_out);
selftest!("mm::a_scan_agrees_with_lists_and_counters", a_scan_agrees);

/// A block of each order is aligned to its size, counted, and shares no page with another.
fn blocks_are_aligned_and_apart(mm: &'static Mm) -> Verdict {
    let before = mm.free_page_count();
    let mut blocks = Blocks::none(mm);
    for order in (0..=MAX_ORDER.raw()).map(Order::new) {
        check!(blocks.take(order), "no block of order {order}");
    }
    for block in blocks.iter() {
        let (start, end) = (block.pfn(), block.pfn().add(block.order().pages()));
        check!(start.is_aligned(block.order()), "{block:?} of order {} is not aligned", block.order());
        let meets = |&other: &mm::page::PageRef| {
            other != block && other.pfn() < end && start < other.pfn().add(other.order().pages())
        };
        check!(blocks.iter().find(meets).is_none(), "{block:?} overlaps another block");
    }
    let pages: u64 = (0..=MAX_ORDER.raw()).map(|n| Order::new(n).pages()).sum();
    check_eq!(before - mm.free_page_count(), pages, "pages taken");
    Ok(())
}

/// A block that was split is 512 single pages, each of which can go back alone, in any order.
fn split_page_frees_singly(mm: &'static Mm) -> Verdict {
    let Ok(block) = mm.alloc_pages(Order::PMD, PageKind::Kernel) else {
        check!(false, "no block of 2 MiB");
        return Ok(());
    };
    let before = mm.free_page_count();
    let first = block.page();
    let mut singles = mm.split_page(block, Order::PMD);
    let wrong =
        (0..512).map(|n| first.nth(n)).find(|page| page.refcount() != 1 || page.order() != Order::PAGE);
    let mut later = Blocks::none(mm);
    while let (Some(even), Some(odd)) = (singles.next(), singles.next()) {
        mm.free_pages(even, Order::PAGE);
        later.push(odd);
    }
    let half = mm.free_page_count() - before;
    drop(later);
    check!(wrong.is_none(), "{wrong:?} is no single page after the split");
    check_eq!(half, 256, "pages that came back by every second");
    check_eq!(mm.free_page_count() - before, 512, "pages that came back");
    Ok(())
}

/// When nothing is left an allocation is an error; when the memory is back, so are blocks of every order.
fn memory_runs_out(mm: &'static Mm) -> Verdict {
    let before = mm.buddyinfo();
    let mut blocks = Blocks::none(mm);
    for order in (0..=MAX_ORDER.raw()).rev().map(Order::new) {
        while blocks.take(order) {}
    }
    let (left, kept) = (mm.free_page_count(), mm.watermarks().min);
    check!(blocks.len() > 0 && left <= kept, "{left} pages are free, {kept} are kept");
    drop(blocks);
    mm.drain_cpu_lists();
    let after = mm.buddyinfo();
    let largest = MAX_ORDER.raw() as usize;
    check!(after[largest] >= before[largest], "{} largest blocks were {}", after[largest], before[largest]);
    Ok(())
}

/// A scan of every struct page and of every tree finds what lists and counters say, in every room of memory management,
/// also while an address space lives that has pages, a block and hugetlb pages.
fn a_scan_agrees(mm: &'static Mm) -> Verdict {
    let before = scan(mm)?;
    let pool = mm.hugetlb.counts(HugeSize::M2).nr;
    let grown = mm.hugetlb.set_nr(mm, HugeSize::M2, pool + 1);
    let space = mm.new_space().map_err(|error| Failure::new(file!(), line!(), format_args!("{error}")))?;
    let used = use_space(mm, &space);
    let alive = scan(mm);
    mm.destroy_space(&space);
    let shrunk = mm.hugetlb.set_nr(mm, HugeSize::M2, pool);
    used?;
    check_eq!(alive?.spaces, before.spaces + 1, "live address spaces");
    check_eq!((grown.persistent, shrunk.persistent), (pool + 1, pool), "the pool, grown and shrunk");
    check_eq!(scan(mm)?.spaces, before.spaces, "live address spaces at the end");
    Ok(())
}

fn scan(mm: &'static Mm) -> Result<Report, NotPassed> {
    let report =
        crate::settle::check(mm).map_err(|wrong| Failure::new(file!(), line!(), format_args!("{wrong}")))?;
    check_eq!(report.all_pages(), mm.ram_pages(), "pages of all kinds");
    Ok(report)
}

/// Two ranges of 2 MiB, of which a few pages are written, and a hugetlb page.
fn use_space(mm: &'static Mm, space: &KArc<AddressSpace>) -> Verdict {
    let request = MmapRequest::anonymous(4 << 20, MapProt::READ | MapProt::WRITE);
    for (request, pages) in
        [(request, 5), (MmapRequest { len: 2 << 20, ..request }.with(MapFlags::HUGETLB), 1)]
    {
        let start = mm.mmap(space, &request);
        let start = start.map_err(|error| Failure::new(file!(), line!(), format_args!("{error}")))?;
        for page in 0..pages {
            let stored = mm.write_user(space, start.add(page << 12), &[1]);
            check!(stored.is_ok(), "page {page} of {} bytes cannot be written", request.len);
        }
    }
    Ok(())
}
