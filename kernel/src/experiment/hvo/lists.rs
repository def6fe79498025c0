//! Lists of folios as they lie in a pool, nobody's: optimised at once, and restored at once.
#![forbid(unsafe_code)]

use allocator_api2::vec::Vec;
use arch::Order;
use mm::Mm;
use mm::hvo::{self, BatchOutcome};
use mm::kalloc::KAlloc;
use mm::page::{Flags, FolioRef, PageKind, PageRef};
use mm::stats::Counter;

use super::reading::Reading;
use super::sheet::Sheet;
use crate::println;

/// Lengths of lists of 2 MiB that are measured, as far as memory goes.
const LENGTHS: [usize; 5] = [1, 8, 64, 512, 4096];
/// Lists of up to so many folios are measured [`ROUNDS`] times; longer ones once.
const SHORT: usize = 64;
/// The least of so many counts: no timer interrupt has met it.
const ROUNDS: usize = 5;
/// Memory that is left alone, in folios of 2 MiB.
const SPARED: usize = 64;

/// Frozen hugetlb folios of one order that belong to no pool. They are given back when this is dropped.
pub(super) struct Folios {
    mm: &'static Mm,
    order: Order,
    owned: Vec<FolioRef, KAlloc>,
    heads: Vec<PageRef, KAlloc>,
}

impl Folios {
    /// As many as memory has, up to `most`; memory for [`SPARED`] stays free.
    pub(super) fn take(mm: &'static Mm, order: Order, most: usize) -> Folios {
        let mut folios = Folios { mm, order, owned: Vec::new_in(KAlloc), heads: Vec::new_in(KAlloc) };
        let spared = SPARED as u64 * Order::PMD.pages();
        while folios.heads.len() < most && mm.free_page_count() > spared + order.pages() {
            if folios.take_one().is_none() {
                break;
            }
        }
        folios
    }

    fn take_one(&mut self) -> Option<()> {
        self.owned.try_reserve(1).ok()?;
        self.heads.try_reserve(1).ok()?;
        let kind = PageKind::Hugetlb;
        let block = match self.order {
            Order::PMD => self.mm.alloc_pages(Order::PMD, kind).ok()?,
            order => self.mm.alloc_contig(order, kind).ok()?,
        };
        block.prep_compound(kind, self.order, self.mm.config.tails);
        if !block.freeze(1) {
            self.mm.put_folio(block);
            return None;
        }
        self.heads.push(block.page());
        self.owned.push(block);
        Some(())
    }

    /// Their heads.
    pub(super) fn heads(&self) -> &[PageRef] {
        &self.heads
    }

    /// Optimises and restores the first `n`; `None` where one stayed as it was, which is said.
    pub(super) fn round_trip(&self, n: usize) -> Option<(Reading, Reading)> {
        Some((self.optimise(n)?, self.restore(n)?))
    }

    /// Optimises the first `n`.
    pub(super) fn optimise(&self, n: usize) -> Option<Reading> {
        self.remap(|| hvo::optimize_folios(self.mm, self.heads[..n].iter().copied()))
    }

    /// Restores the first `n`.
    pub(super) fn restore(&self, n: usize) -> Option<Reading> {
        self.remap(|| hvo::restore_folios(self.mm, self.heads[..n].iter().copied()))
    }

    fn remap(&self, remap: impl FnOnce() -> BatchOutcome) -> Option<Reading> {
        let mut outcome = None;
        let reading = Reading::of(self.mm, || outcome = Some(remap()));
        match outcome?.first_error {
            None => Some(reading),
            Some((pfn, error)) => {
                println!("error: the folio at pfn {pfn}: {error}");
                None
            }
        }
    }
}

impl Drop for Folios {
    fn drop(&mut self) {
        for folio in self.owned.drain(..) {
            // One that cannot be restored is lost, which the count of free pages shows.
            if folio.flags().contains(Flags::HVO) && hvo::restore_folio(self.mm, *folio).is_err() {
                println!("error: the folio at pfn {} cannot be restored", folio.pfn());
                continue;
            }
            self.mm.free_pages(folio, self.order);
        }
    }
}

/// The first remap of a block of vmemmap, which may have to be split, and then lists of all lengths.
pub(super) fn lists(mm: &'static Mm, sheet: &mut Sheet<'_, '_>) -> Option<()> {
    let folios = Folios::take(mm, Order::PMD, LENGTHS[LENGTHS.len() - 1]);
    let most = folios.heads().len();
    let all = LENGTHS.into_iter().filter(|&n| n <= most);
    let Some(longest) = all.clone().next_back() else {
        println!("error: memory has no folio of 2 MiB to spare for a list");
        return None;
    };
    if longest < LENGTHS[LENGTHS.len() - 1] {
        sheet.remark(format_args!(
            "longer lists are left out: memory has {most} folios of 2 MiB (MEM=12G has 4096)"
        ));
    }
    for n in [1, longest] {
        let (there, _) = folios.round_trip(n)?;
        there.note(format_args!("first_{n}"), sheet);
    }
    for n in all {
        let rounds = if n <= SHORT { ROUNDS } else { 1 };
        let (mut least, mut back) = (None, None);
        for _ in 0..rounds {
            let (optimise, restore) = folios.round_trip(n)?;
            least = Some(optimise.less(least));
            back = Some(restore.less(back));
        }
        least?.note(format_args!("optimise_{n}"), sheet);
        back?.note(format_args!("restore_{n}"), sheet);
    }
    Some(())
}

/// One folio of each size that HVO treats, when nothing has to be split any more.
pub(super) fn sizes(mm: &'static Mm, sheet: &mut Sheet<'_, '_>) -> Option<()> {
    for (order, name) in [(9, "2m"), (13, "32m"), (18, "1g")] {
        let folios = Folios::take(mm, Order::new(order), 1);
        if folios.heads().is_empty() {
            sheet.remark(format_args!("a folio of {name} is left out: memory has none (MEM=4G has one)"));
            continue;
        }
        folios.round_trip(1)?;
        let freed = || mm.stats.get(Counter::NrVmemmapFreed);
        let before = freed();
        let there = folios.optimise(1)?;
        let freed = (freed() - before) * arch::addr::PAGE_SIZE;
        let back = folios.restore(1)?;
        sheet.add(format_args!("size_{name}"), "freed", freed, "bytes");
        there.note(format_args!("optimise_{name}"), sheet);
        back.note(format_args!("restore_{name}"), sheet);
    }
    Some(())
}
