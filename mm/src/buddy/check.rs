//! The allocator's part of the full check: lists, struct pages and counts must tell the same.
#![forbid(unsafe_code)]

use arch::{Order, Pfn};

use super::zone::{CACHED, Listed};
use super::{MAX_ORDER, ORDERS};
use crate::Mm;
use crate::boot::Frames;
use crate::check::{Inconsistency, Report, agree, for_each_block};
use crate::page::{Flags, PageKind, PageList, PageRef, page_of};

/// What the lists hold.
#[derive(Default)]
struct OnLists {
    blocks: [u64; ORDERS],
    cached: u64,
}

impl Mm {
    /// Lists, struct pages and counts of the allocator. Fills in the report.
    pub(crate) fn check_buddy(&self, report: &mut Report) -> Result<(), Inconsistency> {
        let lists = self.walk_lists()?;
        for &bank in self.ram() {
            self.scan(bank, report)?;
        }
        for (&listed, &scanned) in lists.blocks.iter().zip(&report.free_blocks) {
            agree("blocks on a free list against free blocks in memory", None, scanned, listed)?;
        }
        let cached = report.pages_of(PageKind::Free);
        agree("pages on CPUs' lists against such pages in memory", None, cached, lists.cached)?;
        agree("the zone's count of free pages", None, report.free_pages(), self.free_page_count())?;
        let reserved = report.pages_of(PageKind::Reserved);
        agree("reserved pages", None, self.reserved_pages(), reserved)
    }

    fn walk_lists(&self) -> Result<OnLists, Inconsistency> {
        let mut found = OnLists::default();
        let mut verdict = Ok(());
        self.zone.each_list(|listed| {
            let checked = match listed {
                Listed::Blocks(order, of, list, pageblocks) => {
                    found.blocks[usize::from(order.raw())] += list.len();
                    walk_list(list, PageKind::Buddy, order).and_then(|()| {
                        let strange = list.iter().find(|page| pageblocks.of(page.pfn()) != of);
                        let pfn = strange.map(|page| page.pfn());
                        agree("a free block on the list of another type", pfn, 0, pfn.is_some().into())
                    })
                }
                Listed::Cached(list) => {
                    found.cached += list.len();
                    walk_list(list, PageKind::Free, Order::PAGE).and_then(|()| {
                        agree(
                            "pages on a CPU's list beyond its bound",
                            None,
                            0,
                            list.len().saturating_sub(CACHED),
                        )
                    })
                }
            };
            if verdict.is_ok() {
                verdict = checked;
            }
        });
        verdict.map(|()| found)
    }

    /// Looks at every block of a bank. Blocks that begin where the one before has ended and end inside the bank tile
    /// it, so the pages of all kinds add up to RAM.
    fn scan(&self, bank: Frames, report: &mut Report) -> Result<(), Inconsistency> {
        for_each_block(bank, |page, kind, order| {
            let (pfn, pages) = (page.pfn(), order.pages());
            let at = Some(pfn);
            agree("the first page of a block is a tail", at, 0, (kind == PageKind::Tail).into())?;
            agree("a block has its natural alignment", at, 1, pfn.is_aligned(order).into())?;
            agree("a block ends inside its bank", at, 1, (pfn.add(pages) <= bank.end).into())?;
            report.pages[kind as usize] += pages;
            report.firsts[kind as usize].add(pfn);
            if kind == PageKind::Buddy {
                report.free_blocks[usize::from(order.raw()).min(ORDERS - 1)] += 1;
                self.check_merged(page, order)?;
            }
            self.scan_block(page, kind, order)
        })
    }

    /// A free block has merged with its buddy, unless that is not free.
    fn check_merged(&self, page: PageRef, order: Order) -> Result<(), Inconsistency> {
        let buddy = Pfn::new(page.pfn().raw() ^ order.pages());
        if order >= MAX_ORDER || !self.pfn_valid(buddy) {
            return agree(
                "a free block above the largest order",
                Some(page.pfn()),
                0,
                (order > MAX_ORDER).into(),
            );
        }
        let free = page_of(buddy).kind() == PageKind::Buddy && page_of(buddy).order() == order;
        agree("a free block beside its free buddy", Some(page.pfn()), 0, free.into())
    }

    /// The counts of a block's first page, and the kinds of all others.
    fn scan_block(&self, page: PageRef, kind: PageKind, order: Order) -> Result<(), Inconsistency> {
        if matches!(kind, PageKind::Buddy | PageKind::Free) {
            check_unused(page)?;
        }
        let folio = page.flags().contains(Flags::HEAD);
        for rest in (1..order.pages()).map(|n| page.nth(n)) {
            let pfn = Some(rest.pfn());
            if folio {
                let head = rest.head(self.config.tails);
                agree("a tail leads to its head", pfn, page.pfn().raw(), head.pfn().raw())?;
            } else {
                agree("the kind of a page inside a block", pfn, PageKind::Free as u64, rest.kind() as u64)?;
                check_unreferenced(rest)?;
                // The words of a reservation's pages, in use or not, are room 8's to check.
                if kind != PageKind::ThpReserved {
                    check_unowned(rest)?;
                }
            }
        }
        Ok(())
    }
}

/// Walks one list: no more and no fewer pages than it says, all of this kind and order.
fn walk_list(list: &PageList, kind: PageKind, order: Order) -> Result<(), Inconsistency> {
    let mut walked = 0;
    for page in list.iter().take(list.len() as usize + 1) {
        let pfn = Some(page.pfn());
        agree("the kind of a page on a free list", pfn, kind as u64, page.kind() as u64)?;
        agree("the order of a block on a free list", pfn, order.raw().into(), page.order().raw().into())?;
        walked += 1;
    }
    agree("the length of a free list", None, list.len(), walked)?;
    let broken = list.broken_link().map(|page| page.pfn());
    agree("a link back on a free list", broken, 0, broken.is_some().into())
}

/// A free page has no references, no mappings and no owner.
fn check_unused(page: PageRef) -> Result<(), Inconsistency> {
    check_unreferenced(page)?;
    check_unowned(page)
}

fn check_unreferenced(page: PageRef) -> Result<(), Inconsistency> {
    let pfn: Option<Pfn> = Some(page.pfn());
    agree("references to a free page", pfn, 0, page.refcount().into())?;
    agree("mappings of a free page", pfn, 0, page.raw_mapcount().into())
}

fn check_unowned(page: PageRef) -> Result<(), Inconsistency> {
    agree("the owner of a free page", Some(page.pfn()), 0, page.mapping() | page.private())
}
