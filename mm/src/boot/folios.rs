//! hugetlb folios that are made before there are struct pages, so that the struct pages which HVO would free are never
//! made.
//!
//! Folios that are larger than any block of the buddy allocator, and that the boot arguments ask for, are chosen while
//! RAM is a list of free ranges. vmemmap is then mapped for them as HVO leaves it: the page of the head has a frame of its
//! own, and at all other addresses stands the one shared page of tails of that order, read-only, by entries of level 3
//! whatever `vmemmap=` says. So nothing has to be split, repointed or freed later: 4095 of 4096 frames are never taken,
//! and of 262144 struct pages 64 are written.
//!
//! ```text
//! RAM       | image, tables | free |      1 GiB       |      1 GiB       |
//! vmemmap   | o o o o o o o o o o  | H s s s  ..  s s | H s s s  ..  s s |      o, H  its own frame, writable
//!                                      `--'-'------'-'-----'-'------'-'--> s  the shared page, read-only
//! ```
//! **Guarantee.** They are in every way as if they had entered their pool later and been optimised there. Enough is left
//! to boot with; the pools grow by what is missing later, as far as they can ([`crate::hugetlb::Hugetlb::set_nr`]).
//!
//! Not with `hvo=off`, nor with `tails=pointer`, where the tails of each folio say something else: then all folios are
//! made later. (Linux: `hugetlb_vmemmap_init_early`, CONFIG_SPARSEMEM_VMEMMAP_PREINIT.)
#![forbid(unsafe_code)]

use allocator_api2::vec::Vec;
use arch::addr::PAGE_SIZE;
use arch::{Order, Pfn, PhysAddr};

use super::early::{EarlyFrames, Keep, Reach};
use super::frames::Frames;
use super::mem::BootError;
use crate::buddy::MAX_ORDER;
use crate::config::{HugePages, HvoStrategy, MmConfig, TailEncoding};
use crate::hugetlb::{HugeSize, Hugetlb};
use crate::hvo::choice::Choice;
use crate::hvo::layout::Layout;
use crate::hvo::{AtBoot, SharedTails};
use crate::kalloc::KAlloc;
use crate::page::tails::{self, PER_VMEMMAP_PAGE};
use crate::page::{FolioRef, PageKind, page_of};
use crate::stats::{Counter, Stats};

/// Frames that are left for all else, beside tables and struct pages: 128 MiB.
const LEFT: u64 = (128 << 20) / PAGE_SIZE;
/// Frames whose struct pages one table maps by pages.
const PER_TABLE: u64 = 512 * PER_VMEMMAP_PAGE;
/// Tables beside those of vmemmap, and more than enough.
const TABLES: u64 = 512;

/// Folios of one size, side by side.
struct Run {
    frames: Frames,
    layout: Layout,
}

/// The folios that were chosen.
pub(super) struct EarlyFolios {
    /// Ascending.
    runs: Vec<Run, KAlloc>,
    /// The shared page of tails of each order that has any.
    pub(super) shared: SharedTails,
}

impl EarlyFolios {
    /// Takes the folios that are asked for, the highest ones, the largest size first, as many as leave enough.
    pub(super) fn choose(
        early: &mut EarlyFrames,
        ram: &[Frames],
        config: &MmConfig,
        hvo: Choice,
    ) -> Result<Self, BootError> {
        let mut folios = EarlyFolios { runs: Vec::new_in(KAlloc), shared: SharedTails::new() };
        if hvo.strategy != HvoStrategy::Off && config.tails == TailEncoding::Mask {
            folios.take(early, ram, &config.hugepages)?;
        }
        Ok(folios)
    }

    fn take(&mut self, early: &mut EarlyFrames, ram: &[Frames], asked: &HugePages) -> Result<(), BootError> {
        let large = |size: &HugeSize| size.order() > MAX_ORDER;
        for size in HugeSize::ALL.into_iter().rev().filter(large) {
            let Ok(layout) = Layout::of(size.order()) else { continue };
            for _ in 0..asked.count(size) {
                let keep = keep(ram, self.pages() + size.order().pages());
                let Some(frames) = early.take_high(size.order(), keep)? else { break };
                self.push(Run { frames, layout })?;
            }
        }
        self.runs.sort_unstable_by_key(|run| run.frames.start);
        // Last, as a single frame spoils a folio.
        for order in self.runs.iter().map(|run| run.layout.order()) {
            if self.shared.get(order).is_none() {
                let page = early.take(Order::PAGE, Reach::Anywhere, "a shared page of tails")?;
                self.shared.begin_with(order, page);
            }
        }
        Ok(())
    }

    fn push(&mut self, run: Run) -> Result<(), BootError> {
        if let Some(last) = self.runs.last_mut()
            && last.layout == run.layout
            && last.frames.start == run.frames.end
        {
            last.frames.start = run.frames.start;
            return Ok(());
        }
        self.runs.try_reserve(1)?;
        self.runs.push(run);
        Ok(())
    }

    /// The first frame of each folio, and what its vmemmap is like; ascending.
    pub(super) fn iter(&self) -> impl Iterator<Item = (Pfn, Layout)> + '_ {
        self.runs.iter().flat_map(|run| {
            let step = run.layout.order().pages();
            (0..run.frames.len() / step).map(move |n| (run.frames.start.add(n * step), run.layout))
        })
    }

    /// The parts of `range` that are in no folio, ascending. No folio lies in it in part.
    pub(super) fn beside(&self, range: Frames) -> impl Iterator<Item = Frames> + '_ {
        let inside = self.runs.iter().map(move |run| run.frames.meet(range)).filter(|part| !part.is_empty());
        let mut at = range.start;
        inside.chain([Frames { start: range.end, end: range.end }]).filter_map(move |folios| {
            let part = Frames { start: at, end: folios.start };
            at = folios.end;
            (!part.is_empty()).then_some(part)
        })
    }

    /// Frames of all folios.
    pub(super) fn pages(&self) -> u64 {
        self.runs.iter().map(|run| run.frames.len()).sum()
    }

    /// The shared pages, by order.
    pub(super) fn shared_pages(&self) -> impl Iterator<Item = (Order, PhysAddr)> + '_ {
        let orders = HugeSize::ALL.into_iter().map(HugeSize::order);
        orders.filter_map(|order| Some((order, self.shared.get(order)?)))
    }

    /// Writes the shared pages, through the linear map. Before a struct page of a folio is looked at.
    pub(super) fn write_tails(&self) {
        for (order, page) in self.shared_pages() {
            tails::write_pages(page, 1, tails::encode(TailEncoding::Mask, page_of(page.pfn()), order));
        }
    }

    /// Writes the struct pages that are the folios' own.
    pub(super) fn write_heads(&self) {
        for (pfn, layout) in self.iter() {
            let own = layout.kept() * PER_VMEMMAP_PAGE;
            page_of(pfn).prep_optimised(PageKind::Hugetlb, layout.order(), own);
        }
    }

    /// Puts the folios into their pools, and counts them: as if the buddy allocator had given out their frames and the
    /// shared pages.
    pub(super) fn enter(&self, pools: &Hugetlb, stats: &Stats) -> AtBoot {
        let mut at_boot = AtBoot::default();
        for (pfn, layout) in self.iter() {
            pools.attach(FolioRef::from_raw(page_of(pfn)));
            at_boot.folios += 1;
            at_boot.never_taken += layout.freed();
        }
        stats.add(Counter::NrHvoOptimized, at_boot.folios);
        stats.add(Counter::NrVmemmapFreed, at_boot.never_taken);
        stats.add(Counter::PgAlloc, self.pages() + self.shared.pages());
        at_boot
    }
}

/// What is left free where `folios` frames are folios': room for the struct pages of the others, each bank's rounded to
/// blocks at both ends, for tables, and for all else.
fn keep(ram: &[Frames], folios: u64) -> Keep {
    let all: u64 = ram.iter().map(|bank| bank.len()).sum();
    let ends = ram.len() as u64 * 2 * Order::PMD.pages();
    let holders = all.saturating_sub(folios) / PER_VMEMMAP_PAGE + ends;
    let tables = all / PER_TABLE + TABLES;
    Keep { frames: holders + tables + LEFT, mapped: tables }
}
