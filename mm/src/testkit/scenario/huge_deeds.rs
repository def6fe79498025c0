//! What a vCPU does with the pages of a hugetlb object, and with their pool, that nobody who maps them notices.
//!
//! Those that change how the pages are mapped, and not what is in them, are here, too: [`View::treat_pages`].
#![forbid(unsafe_code)]

use arch::addr::PAGE_SIZE;
use arch::{Machine, Order};

use super::object::PAGES;
use super::stage::CPUS;
use super::view::View;
use super::words::Unit;
use crate::Mm;
use crate::hugetlb::{HugeSize, take_spare};
use crate::kalloc::KArc;
use crate::page::PageKind;
use crate::rmap::{self, MoveWhat, NotMoved};
use crate::space::{AddressSpace, Advice};
use crate::testkit::Random;
use arch::contract::Cpu;

/// Pages that a pool has at the beginning: those of the object, and a few to spare.
const POOL: u64 = PAGES as u64 + 2;

/// Pages that so many spaces need at most: those of the object, a copy of each in every space, and what is pinned,
/// copied and moved at the moment.
pub(super) fn most(size: HugeSize, spaces: usize) -> u64 {
    let held = if size < HugeSize::M32 { 4 * CPUS } else { 2 * CPUS };
    (PAGES * (1 + spaces) + held) as u64
}

/// Gives the pool its pages, and lets it have as many more as somebody may need. Those of 32 MiB take long to make, and
/// are there from the beginning.
pub(super) fn fill(mm: &Mm, size: HugeSize, spaces: usize) {
    let pages = if size < HugeSize::M32 { POOL } else { most(size, spaces) };
    mm.hugetlb.set_overcommit(size, most(size, spaces));
    assert_eq!(mm.hugetlb.set_nr(mm, size, pages).persistent, pages, "pages of {size}");
}

/// Nobody has a page, or was promised one: takes the pool's away.
pub(super) fn drain(mm: &Mm) {
    for size in HugeSize::ALL {
        let counts = mm.hugetlb.counts(size);
        assert_eq!((counts.nr, counts.reserved, counts.surplus), (counts.free, 0, 0), "{size}: {counts:?}");
        assert_eq!(mm.hugetlb.set_nr(mm, size, 0).persistent, 0, "pages of {size} stay");
    }
}

/// One thing that is done to a pool.
pub(super) fn treat_pool(mm: &Mm, size: HugeSize, random: &mut Random) {
    match random.below(4) {
        0 if size < HugeSize::M32 => drop(mm.hugetlb.set_nr(mm, size, POOL + random.below(4)).persistent),
        1 => {
            // Pages of the next size, one of which is divided into some for this one.
            let larger = HugeSize::ALL.into_iter().find(|&larger| larger > size && larger <= HugeSize::M2);
            if let Some(larger) = larger {
                let _ = mm.hugetlb.set_nr(mm, larger, 1).persistent;
                let _ = mm.hugetlb.demote(mm, larger, 1).folios;
            }
        }
        2 if size < HugeSize::M32 => {
            let _ = mm.hugetlb.demote(mm, size, random.below(2)).folios;
            if let Some(smaller) = mm.hugetlb.demote_size(size) {
                let _ = mm.hugetlb.set_nr(mm, smaller, 0).persistent;
            }
        }
        _ => drop(mm.hugetlb.restore_free(mm).first_error),
    }
}

impl View {
    /// One random thing that moves the pages, or changes how they are mapped: what is in them stays as it is.
    pub(super) fn treat_pages(&self, mm: &Mm, space: &KArc<AddressSpace>, random: &mut Random) {
        let Unit::Huge(size) = self.book.unit() else { return };
        let page = random.below(PAGES as u64) as usize;
        match random.below(8) {
            0 => treat_pool(mm, size, random),
            2..6 if !self.is_private() => self.change_grain(mm, space, page, random),
            1 => {
                if let Some(pfn) = self.frame(space, page) {
                    let order = Order::new(random.below(4) as u8);
                    if let Ok(block) = mm.alloc_contig_at(pfn.align_down(order), order, PageKind::Kernel) {
                        mm.free_pages(block, order);
                    }
                }
            }
            _ => self.move_page(mm, space, (size, page), random),
        }
        Machine::relax();
    }

    /// Lets a page be mapped by smaller entries, or maps it by some, or by fewer: as far as it can be now.
    fn change_grain(&self, mm: &Mm, space: &KArc<AddressSpace>, page: usize, random: &mut Random) {
        let (start, unit) = (self.va(page), self.book.unit().bytes());
        let advise = |advice: Advice| {
            let _ = mm.madvise(space, start.raw(), unit, advice);
        };
        match random.below(4) {
            0 => advise(Advice::Split),
            1 => advise(Advice::Collapse),
            _ => {
                if random.below(2) == 0 {
                    advise(Advice::Split);
                    advise(Advice::DontNeed);
                }
                for _ in 0..4 {
                    let first = random.below(unit / PAGE_SIZE);
                    let most = 1 << random.below(10);
                    let pages = 1 + random.below((unit / PAGE_SIZE - first).min(most));
                    let va = start.add(first * PAGE_SIZE);
                    let _ = mm.continue_huge(space, va..va.add(pages * PAGE_SIZE));
                }
            }
        }
    }

    /// Moves the page that a space has mapped, shared or a copy, to another of the pool.
    fn move_page(&self, mm: &Mm, space: &AddressSpace, (size, page): (HugeSize, usize), random: &mut Random) {
        let Some(pfn) = self.frame(space, page) else { return };
        let Some(folio) = mm.try_get_folio(pfn) else { return };
        let target = take_spare(mm, size, |_| true).filter(|_| folio.kind() == PageKind::Hugetlb);
        let Some(target) = target else { return mm.put_folio(folio) };
        let what = if random.below(4) == 0 { MoveWhat::Exclusive } else { MoveWhat::All };
        if let Err(NotMoved { target, .. }) = rmap::migrate_folio(mm, folio, target, what) {
            mm.put_folio(target);
        }
    }
}
