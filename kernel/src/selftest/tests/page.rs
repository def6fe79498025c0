//! Struct pages on the machine.

use arch::Order;
use arch::layout::STRUCT_PAGE_BYTES;
use mm::Mm;
use mm::config::TailEncoding;
use mm::page::{FolioRef, PageKind, page_of};

use crate::selftest::{Failure, NotPassed, Verdict, check, check_eq, selftest};

selftest!("page::neighbours_are_apart", neighbours_are_apart);
selftest!("page::tails_lead_to_the_head_in_both_encodings", tails_lead_to_the_head);
selftest!("page::nobody_gets_a_free_page", nobody_gets_a_free_page);

fn block(mm: &Mm) -> Result<FolioRef, NotPassed> {
    mm.alloc_pages(Order::PMD, PageKind::Kernel)
        .map_err(|_| Failure::new(file!(), line!(), format_args!("no block of 2 MiB")).into())
}

/// Struct pages are 64 bytes apart, and what is stored in one is not seen in another.
fn neighbours_are_apart(mm: &'static Mm) -> Verdict {
    let block = block(mm)?;
    let pages = || (0..512).map(|n| block.nth(n));
    pages().for_each(|page| page.set_private(page.pfn().raw()));
    let wrong = pages().find(|page| page.private() != page.pfn().raw() || page_of(page.pfn()) != *page);
    pages().for_each(|page| page.set_private(0));
    let distance = block.nth(1).address().offset_from(block.address());
    mm.free_pages(block, Order::PMD);
    check!(wrong.is_none(), "{wrong:?} holds what was stored in another");
    check_eq!(distance, STRUCT_PAGE_BYTES, "bytes from one struct page to the next");
    Ok(())
}

/// In both encodings all 512 pages of a folio lead to its head, and none does once it is taken apart.
fn tails_lead_to_the_head(mm: &'static Mm) -> Verdict {
    for &encoding in TailEncoding::ALL {
        let block = block(mm)?;
        let head = block.page();
        head.prep_compound(PageKind::Kernel, Order::PMD, encoding);
        let astray = (0..512).map(|n| head.nth(n)).find(|page| page.head(encoding) != head);
        let counted = (1..512).map(|n| head.nth(n)).find(|tail| tail.refcount() != 0);
        let singles = mm.split_page(block, Order::PMD);
        let stuck = (0..512).map(|n| head.nth(n)).find(|page| page.head(encoding) != *page);
        singles.for_each(|page| mm.free_pages(page, Order::PAGE));
        check!(astray.is_none(), "tails={encoding}: {astray:?} does not lead to its head");
        check!(counted.is_none(), "tails={encoding}: the tail {counted:?} has references");
        check!(stuck.is_none(), "tails={encoding}: {stuck:?} leads elsewhere after the split");
    }
    Ok(())
}

/// A reference can be had of a page in use, by any page of its folio, and of no free page.
fn nobody_gets_a_free_page(mm: &'static Mm) -> Verdict {
    let block = block(mm)?;
    let head = block.page();
    head.prep_compound(PageKind::Kernel, Order::PMD, mm.config.tails);
    let speculative = mm.try_get_folio(head.nth(511).pfn());
    let (got, counted) = (speculative.as_ref().map(FolioRef::page), head.refcount());
    if let Some(folio) = speculative {
        mm.put_folio(folio);
    }
    mm.free_pages(block, Order::PMD);
    let after = mm.try_get_folio(head.pfn());
    check_eq!(got, Some(head), "the folio of its last tail");
    check_eq!(counted, 2, "references");
    check!(after.is_none(), "a reference to the free page {after:?}");
    Ok(())
}
