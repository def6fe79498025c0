//! Compaction: single pages move from the bottom of memory to the top, until a block of 2 MiB is free.
//!
//! ```text
//!   bottom                                                          top
//!   [a.a..a.][K.......][.a..a...][aaaaaaaa] ...  [a.aa.aa.][.a......]
//!    `--`-----------------------------------------> takes the free pages here
//!    block by block; a block with anything in it that cannot move is passed over, as it cannot become free
//! ```
//! One scanner goes up and empties blocks, the other comes down and takes free pages that are in no free block of
//! 2 MiB; where they meet it is over (Linux: `compact_zone`). Only single pages, anonymous or of objects, are moved: a folio is not what
//! fragments memory, and a page of a reservation stays in its place.
//!
//! **Direct compaction.** An allocation of 2 MiB that finds no block compacts once and tries again. After it was in vain
//! the next ones are passed over, twice as many each time (Linux: `defer_compaction`): what could not be had a moment
//! ago will not be had now.
#![forbid(unsafe_code)]

use core::sync::atomic::{AtomicU32, Ordering};

use arch::{Order, Pfn};

use super::migrate::{MoveWhat, NotMoved, migrate_folio};
use super::movable::{Obstacle, obstacle};
use super::target::drop_target;
use crate::Mm;
use crate::boot::Frames;
use crate::buddy::ORDERS;
use crate::page::{FolioRef, PageKind, page_of};
use crate::stats::Counter;
use crate::trace::Point;

/// Most allocations that are passed over after compaction was in vain: 2^6.
const MOST_DEFERRED: u32 = 6;

/// What compaction has moved.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Compacted {
    /// Pages that moved (4 KiB units).
    pub moved: u64,
    /// Pages that were looked at to move them (4 KiB units).
    pub scanned: u64,
}

/// How often direct compaction was in vain lately.
pub(super) struct Deferral {
    /// log2 of the allocations to pass over; 0: none.
    shift: AtomicU32,
    /// Passed over since.
    passed: AtomicU32,
}

impl Deferral {
    pub(super) const fn new() -> Self {
        Deferral { shift: AtomicU32::new(0), passed: AtomicU32::new(0) }
    }
    /// Whether this allocation is to be passed over.
    fn passes(&self) -> bool {
        let shift = self.shift.load(Ordering::Relaxed);
        shift != 0 && self.passed.fetch_add(1, Ordering::Relaxed) < 1 << shift
    }
    fn settle(&self, success: bool) {
        let more = |shift: u32| Some(if success { 0 } else { (shift + 1).min(MOST_DEFERRED) });
        let _ = self.shift.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
        self.passed.store(0, Ordering::Relaxed);
    }
}

/// A free block of 2^`order` pages is wanted and there is none: compacts, unless that was in vain lately. Whether there
/// is one now. The caller holds no lock of rank 30 or above.
pub(crate) fn direct(mm: &Mm, order: Order) -> bool {
    if mm.rmap.compaction.passes() {
        return false;
    }
    let begin = || [order.raw().into(), 0, 0, 0];
    let success = mm.stats.slice(
        Point::Compact,
        (1, begin),
        |&success: &bool| (0, [success.into(), 0, 0, 0]),
        || {
            compact_zone(mm, order);
            has_block(mm, order)
        },
    );
    mm.rmap.compaction.settle(success);
    mm.stats.inc(if success { Counter::CompactSuccess } else { Counter::CompactFail });
    success
}

fn has_block(mm: &Mm, order: Order) -> bool {
    mm.buddyinfo()[usize::from(order.raw()).min(ORDERS)..].iter().any(|&blocks| blocks != 0)
}

/// Moves single pages up until there is nothing more to gain. As [`compact_zone`].
pub fn compact_all(mm: &Mm) -> Compacted {
    compact_until(mm, || false)
}

/// Moves single pages up until a block of 2^`order` pages is free, or all of memory was looked at. The caller holds no
/// lock of rank 30 or above.
pub fn compact_zone(mm: &Mm, order: Order) -> Compacted {
    compact_until(mm, || has_block(mm, order))
}

fn compact_until(mm: &Mm, enough: impl Fn() -> bool) -> Compacted {
    let mut done = Compacted::default();
    mm.drain_cpu_lists();
    let Some(mut top) = mm.ram().last().map(|bank| bank.end) else { return done };
    for bank in mm.ram() {
        let mut start = bank.start.align_down(Order::PMD);
        while start < bank.end && start < top && !enough() {
            let block = Frames::new(start, Order::PMD.pages());
            start = block.end;
            if bank.meet(block) == block && worth_it(mm, block) {
                empty_block(mm, block, &mut top, &mut done);
                mm.drain_cpu_lists();
            }
        }
    }
    mm.stats.add(Counter::CompactMigrateScanned, done.scanned);
    done
}

/// Whether the block can become free: something is used, and all of that are single pages that may move.
fn worth_it(mm: &Mm, block: Frames) -> bool {
    let mut used = 0;
    for pfn in block.iter() {
        match obstacle(mm, pfn) {
            Obstacle::Nothing => {}
            Obstacle::Movable if is_single(mm, pfn) => used += 1,
            _ => return false,
        }
    }
    used != 0
}

fn is_single(mm: &Mm, pfn: Pfn) -> bool {
    let page = page_of(pfn);
    matches!(page.kind(), PageKind::Anon | PageKind::Shmem)
        && !page.is_folio()
        && page.head(mm.config.tails) == page
}

/// Moves every page of the block above it, until one stays or there is no place. `top` comes down to where the last
/// place was.
fn empty_block(mm: &Mm, block: Frames, top: &mut Pfn, done: &mut Compacted) {
    let mut spare: Option<FolioRef> = None;
    for pfn in block.iter() {
        done.scanned += 1;
        let Some(folio) = mm.try_get_folio(pfn) else { continue };
        let kind = folio.kind();
        let single = is_single(mm, pfn) && folio.pfn() == pfn;
        let target = if single { spare.take().or_else(|| above(mm, block, top)) } else { None };
        let Some(target) = target else {
            mm.put_folio(folio);
            break;
        };
        target.set_kind(kind, Order::PAGE);
        match migrate_folio(mm, folio, target, MoveWhat::All) {
            Ok(()) => done.moved += 1,
            Err(NotMoved { target, .. }) => {
                spare = Some(target);
                break;
            }
        }
    }
    if let Some(target) = spare {
        drop_target(mm, target);
    }
}

/// The highest free page above the block and below where the last one was.
fn above(mm: &Mm, block: Frames, top: &mut Pfn) -> Option<FolioRef> {
    let banks = mm.ram().iter().rev();
    let places = banks.map(|bank| (bank.start.max(block.end), bank.end.min(*top)));
    let mut found =
        places.filter(|(low, high)| low < high).filter_map(|(low, high)| mm.alloc_high(low, high));
    let target = found.next();
    *top = target.as_ref().map_or(block.end, |page| page.pfn());
    target
}
