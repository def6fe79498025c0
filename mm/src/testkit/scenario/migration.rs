//! Frames that move under everybody: two vCPUs load and store, one moves what they use to other frames, splits it,
//! takes it for a larger piece, compacts memory, clears access flags, while one unmaps, protects, discards and forks
//! it. An object is there too, mapped shared and private, truncated and pinned.
#![forbid(unsafe_code)]

use std::ops::Range;
use std::sync::Arc;

use arch::addr::PAGE_SIZE;
use arch::{Cpu, Machine, Order, Pfn, VirtAddr};

use super::area::{Change, Kind, RW};
use super::contest::{self, BASE, Contest};
use super::hold::Hold;
use super::home::{Inside, any_change};
use super::object::{Book, PAGES};
use super::stage::{self, Stage, pick};
use super::view::View;
use super::{Ran, Scenario};
use crate::Mm;
use crate::config::{HvoStrategy, Mapcount, MmConfig, ThpMode};
use crate::page::{FolioRef, PageKind};
use crate::rmap::deferred::split_deferred;
use crate::rmap::{self, Exit, MoveWhat, NotMoved};
use crate::space::MapProt;
use crate::testkit::Random;
use crate::thp::promoter;

/// See [`Scenario`].
pub(super) const SCENARIO: Scenario = Scenario {
    name: "migration",
    about: "two vCPUs load and store, one moves, splits and compacts what they use, one changes and forks it",
    run,
};

const RANGE: usize = 512;
const RANGES: usize = 2;
/// Pages of each range that are used most.
const USED: u64 = 10;
fn run(seed: u64) -> Ran {
    let config = |random: &mut Random, choices: &mut MmConfig| {
        choices.thp =
            [ThpMode::Never, ThpMode::Always, ThpMode::Always, ThpMode::Reserve][random.below(4) as usize];
        choices.hvo = HvoStrategy::Off;
        choices.mapcount = pick(random, Mapcount::ALL);
    };
    stage::run(seed, 32, config, contest::play::<Migration>)
}

fn used_page(random: &mut Random) -> usize {
    let range = random.below(RANGES as u64) as usize;
    let page = if random.below(8) == 0 { random.below(RANGE as u64) } else { random.below(USED) * 51 };
    range * RANGE + page as usize
}

/// A change of a whole range, so that it begins anew, or of a part, so that it is cut.
fn any_part(random: &mut Random) -> (Range<usize>, Change) {
    let first = used_page(random);
    let range = first - first % RANGE;
    match random.below(6) {
        0 => (range..range + RANGE, Change::Map(RW)),
        1 => (range..range + RANGE, Change::Protect(RW)),
        2 => (first..first + 1, Change::Protect(MapProt::READ)),
        3 => (first..(first + 60).min(RANGES * RANGE), any_change(random)),
        _ => (first..first + 1, any_change(random)),
    }
}

/// What one of the two that access has in hand.
#[derive(Default)]
struct Held {
    /// Some folio.
    folio: Option<FolioRef>,
    /// A pinned page of the object.
    pinned: Option<Hold>,
}

/// See [`SCENARIO`].
struct Migration;

impl Contest for Migration {
    const PAGES: usize = RANGES * RANGE;
    const SPOILT: usize = 3 * RANGES;
    const ACCESSES: usize = 260;
    const CHANGES: usize = 24;
    const TURNS: usize = 400;
    type Held = Held;

    fn views(book: &Arc<Book>) -> Vec<View> {
        let base = BASE + Self::PAGES as u64 * PAGE_SIZE;
        vec![View::new(book, Kind::Shared, base), View::new(book, Kind::Private, base + 16 * PAGE_SIZE)]
    }

    fn page(random: &mut Random) -> usize {
        used_page(random)
    }
    fn disturb(stage: &Stage<'_>, inside: &Inside<'_>, _: &mut Self::Held, random: &mut Random) {
        let frame = match random.below(3) {
            0 => inside.frame_of_view(random.below(2) as usize, random.below(PAGES as u64) as usize),
            _ => inside.frame(0, used_page(random)),
        };
        if let Some(pfn) = frame {
            disturb(stage.mm, pfn, random);
        }
        Machine::relax();
    }
    fn change(stage: &Stage<'_>, inside: &Inside<'_>, random: &mut Random) {
        inside.change_object(stage.mm, random);
        if random.below(3) == 0 {
            return fork(stage.mm, inside, used_page(random), random);
        }
        let (pages, change) = any_part(random);
        inside.change(stage.mm, 0, pages, change);
    }
    fn between(stage: &Stage<'_>, inside: &Inside<'_>, held: &mut Self::Held, random: &mut Random) {
        walk_frames(stage.mm, &mut held.folio, random);
        if random.below(2) == 0 {
            inside.access_object(stage.mm, &mut held.pinned, random);
        }
    }
    fn let_go(stage: &Stage<'_>, held: &mut Self::Held, random: &mut Random) {
        let_go(stage.mm, &mut held.folio);
        if let Some(pinned) = held.pinned.take() {
            pinned.let_go(stage.mm, random);
        }
    }
    fn end(stage: &Stage<'_>) {
        promoter::drain(stage.mm);
        stage.mm.reclaim(u64::MAX);
    }
}

/// A child comes, writes a page, and ends.
pub(super) fn fork(mm: &Mm, inside: &Inside<'_>, page: usize, random: &mut Random) {
    let Ok(child) = mm.fork_space(&inside.space()) else { return };
    let va = VirtAddr::new(BASE).add(page as u64 * PAGE_SIZE);
    // The page may not be mapped at this moment.
    let _ = mm.write_user(&child, va, &random.bits().to_le_bytes());
    mm.destroy_space(&child);
}

/// One thing that is done to a frame.
fn disturb(mm: &Mm, pfn: Pfn, random: &mut Random) {
    match random.below(16) {
        0..9 => move_folio(mm, pfn, random),
        9 | 10 => {
            if let Some(folio) = mm.try_get_folio(pfn) {
                let _ = rmap::split_folio(mm, folio);
            }
        }
        11 => drop(split_deferred(mm)),
        12 => take_piece(mm, pfn.align_down(Order::new(3)), Order::new(3)),
        13 => drop(rmap::compact_zone(mm, Order::new(10))),
        14 => drop(promoter::drain(mm)),
        _ => {
            if let Some(folio) = mm.try_get_folio(pfn) {
                rmap::folio_referenced(mm, folio.page(), Exit::Never);
                mm.put_folio(folio);
            }
        }
    }
}

/// Moves whatever folio the frame belongs to.
pub(super) fn move_folio(mm: &Mm, pfn: Pfn, random: &mut Random) {
    let Some(folio) = mm.try_get_folio(pfn) else { return };
    let target = if matches!(folio.kind(), PageKind::Anon | PageKind::Shmem) {
        rmap::target_for(mm, folio.page()).ok()
    } else {
        None
    };
    let Some(target) = target else {
        mm.put_folio(folio);
        return;
    };
    let what = if random.below(4) == 0 { MoveWhat::Exclusive } else { MoveWhat::All };
    if let Err(NotMoved { target, .. }) = rmap::migrate_folio(mm, folio, target, what) {
        rmap::drop_target(mm, target);
    }
}

/// Empties the range around a frame, and gives it back.
fn take_piece(mm: &Mm, first: Pfn, order: Order) {
    if let Ok(block) = mm.alloc_contig_at(first, order, PageKind::Kernel) {
        mm.free_pages(block, order);
    }
}

/// Somebody who tries any frame, and at times keeps a reference for a few turns.
fn walk_frames(mm: &Mm, held: &mut Option<FolioRef>, random: &mut Random) {
    if random.below(4) == 0 {
        let_go(mm, held);
    }
    if held.is_none() {
        let bank = mm.ram()[0];
        *held = mm.try_get_folio(bank.start.add(random.below(bank.len())));
    }
}

fn let_go(mm: &Mm, held: &mut Option<FolioRef>) {
    if let Some(folio) = held.take() {
        mm.put_folio(folio);
    }
}
