//! HVO of each size, in the pool: what is freed and comes back, the entries, and what walkers see meanwhile.

use arch::addr::PAGE_SIZE;
use arch::pte::PteFlags;
use arch::{Level, Order};
use mm::Mm;
use mm::config::{HvoSplit, HvoStrategy, VmemmapMap};
use mm::hugetlb::HugeSize;
use mm::hvo::describe::entry;
use mm::hvo::layout::Layout;
use mm::page::{Flags, PageKind, PageRef, page_of};

use super::hvo::{nothing_wrong, walkers};
use super::kit::comes;
use crate::selftest::{Failure, NotPassed, Verdict, check, check_eq, require, selftest};

selftest!("hvo::folios_of_2m", folios_of_2m);
selftest!("hvo::folios_of_32m", folios_of_32m);
selftest!("hvo::folios_of_1g", folios_of_1g);

/// Twenty folios: a list of 140 entries.
fn folios_of_2m(mm: &'static Mm) -> Verdict {
    folios_of(mm, HugeSize::M2, 20)
}

/// Two folios: a list of 254 entries.
fn folios_of_32m(mm: &'static Mm) -> Verdict {
    folios_of(mm, HugeSize::M32, 2)
}

/// One folio: 4095 entries, of eight blocks of vmemmap.
fn folios_of_1g(mm: &'static Mm) -> Verdict {
    folios_of(mm, HugeSize::G1, 1)
}

/// The folios of this size that lie in the pool, as a list that is optimised and restored twice: the pages that go are
/// free, or come back; each entry is as it must be; each struct page leads to its head; and no walker gets a folio of
/// the pool, or one that is wrong.
fn folios_of(mm: &'static Mm, size: HugeSize, folios: u64) -> Verdict {
    require!(mm.hvo.strategy() != HvoStrategy::Off, "HVO");
    require!(
        mm.config.vmemmap == VmemmapMap::Pte || mm.hvo.split() != HvoSplit::Refuse,
        "vmemmap in pages, or a way to split blocks"
    );
    let before = HugeSize::ALL.map(|size| mm.hugetlb.counts(size).nr);
    let set_all = |wanted: [u64; 4]| {
        // The largest first: they are had only as long as memory is in large pieces.
        let mut now = wanted;
        for (size, now) in HugeSize::ALL.into_iter().zip(&mut now).rev() {
            *now = mm.hugetlb.set_nr(mm, size, *now).persistent;
        }
        now
    };
    let emptied = set_all([0; 4]);
    let grown = mm.hugetlb.set_nr(mm, size, folios);
    let verdict = match grown.unoptimized {
        Some(error) => {
            Err(Failure::new(file!(), line!(), format_args!("a new folio of {size}: {error}")).into())
        }
        None if grown.persistent < folios => Err(NotPassed::Skipped("as many pages of that size")),
        None => to_and_fro(mm, size, folios),
    };
    set_all([0; 4]);
    let back = set_all(before);
    verdict?;
    check_eq!((emptied, back), ([0; 4], before), "the sizes of the pools, emptied and as they were");
    Ok(())
}

fn to_and_fro(mm: &'static Mm, size: HugeSize, folios: u64) -> Verdict {
    let layout = Layout::of(size.order())
        .map_err(|refused| Failure::new(file!(), line!(), format_args!("{refused}")))?;
    let walkers = walkers(mm)?;
    if let Some(head) = heads(mm, size).next() {
        walkers.name_frozen(head);
    }
    // On one CPU all may be over before a walker has its first turn.
    check!(comes(|| walkers.looks().asked > 0), "no walker began");
    let free = || mm.free_page_count() + mm.hvo.kept_pages(mm);
    // A page that is freed while a walker holds it is free a moment later.
    let settles_at = |pages| comes(|| free() == pages);
    let optimised = free();
    for round in 0..2 {
        let restored = mm.hugetlb.restore_free(mm);
        check_eq!((restored.done, restored.first_error), (folios, None), "folios restored");
        let whole = optimised - folios * layout.freed();
        check!(settles_at(whole), "round {round}, restored: {} pages are free, expected {whole}", free());
        heads(mm, size).try_for_each(|head| is_whole(mm, head, layout))?;
        let again = mm.hugetlb.optimize_free(mm);
        check_eq!((again.done, again.first_error), (folios, None), "folios optimised");
        check!(
            settles_at(optimised),
            "round {round}, optimised: {} pages are free, expected {optimised}",
            free()
        );
        heads(mm, size).try_for_each(|head| is_optimised(mm, head, layout))?;
    }
    check_eq!(heads(mm, size).count() as u64, folios, "folios that were looked at");
    let looks = walkers.end();
    check!(looks.asked > 0, "no walker got on: {looks}");
    nothing_wrong(looks)
}

/// The folios of a pool, which nobody uses.
fn heads(mm: &'static Mm, size: HugeSize) -> impl Iterator<Item = PageRef> {
    let order = size.order();
    let aligned = move |pfn: u64| pfn.next_multiple_of(order.pages());
    let frames = mm
        .ram()
        .iter()
        .flat_map(move |bank| (aligned(bank.start.raw())..bank.end.raw()).step_by(order.pages() as usize));
    frames.map(|pfn| page_of(arch::Pfn::new(pfn))).filter(move |page| is_head(*page, order))
}

fn is_head(page: PageRef, order: Order) -> bool {
    page.kind() == PageKind::Hugetlb && page.flags().contains(Flags::HEAD) && page.order() == order
}

/// The pages of vmemmap of a folio: the number, its entry's rights, and its frame.
fn vmemmap(
    mm: &'static Mm,
    head: PageRef,
    layout: Layout,
) -> impl Iterator<Item = (u64, bool, Option<arch::PhysAddr>)> {
    (0..layout.pages()).map(move |n| {
        let entry = entry(mm, head.address().add(n * PAGE_SIZE));
        (n, entry.flags().contains(PteFlags::READ_ONLY) && entry.level == Level::L3, entry.output())
    })
}

fn is_optimised(mm: &'static Mm, head: PageRef, layout: Layout) -> Verdict {
    check!(head.flags().contains(Flags::HVO), "{head:?} is not marked");
    let shared = entry(mm, head.address().add(layout.kept() * PAGE_SIZE)).output();
    for (n, read_only, frame) in vmemmap(mm, head, layout) {
        let kept = n < layout.kept();
        check!(read_only != kept, "{head:?}: page {n} of vmemmap has the wrong rights");
        check!(kept || frame == shared, "{head:?}: page {n} of vmemmap is {frame:?}, not {shared:?}");
    }
    leads_to(mm, head)
}

fn is_whole(mm: &'static Mm, head: PageRef, layout: Layout) -> Verdict {
    check!(!head.flags().contains(Flags::HVO), "{head:?} is marked");
    let mut last = None;
    for (n, read_only, frame) in vmemmap(mm, head, layout) {
        check!(!read_only, "{head:?}: page {n} of vmemmap is read-only");
        check!(
            frame.is_some() && frame != last,
            "{head:?}: page {n} of vmemmap has {frame:?}, as the one before"
        );
        last = frame;
    }
    leads_to(mm, head)
}

fn leads_to(mm: &Mm, head: PageRef) -> Verdict {
    let astray =
        (0..head.order().pages()).map(|n| head.nth(n)).find(|page| page.head(mm.config.tails) != head);
    check!(astray.is_none(), "{astray:?} does not lead to {head:?}");
    Ok(())
}
