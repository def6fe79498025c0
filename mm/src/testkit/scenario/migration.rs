//! Frames that move under everybody: two vCPUs load and store, one moves what they use to other frames, splits it, takes
//! it for a larger piece, compacts memory, clears access flags, while one unmaps, protects, discards and forks it.
#![forbid(unsafe_code)]

use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};

use arch::addr::PAGE_SIZE;
use arch::{Cpu, Machine, Order, Pfn};

use super::area::{Area, Change, Kind, RW};
use super::home::{Home, Inside, any_change};
use super::memory::Memory;
use super::stage::{self, CPUS, Stage};
use super::{Ran, Scenario};
use crate::Mm;
use crate::config::{MmConfig, ThpMode};
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

const BASE: u64 = 0x4000_0000;
const RANGE: usize = 512;
const RANGES: usize = 2;
/// Pages of each range that are used most.
const USED: u64 = 10;
/// Accesses of each of the two that access.
const ACCESSES: usize = 260;
/// Changes, spread over the time of the accesses.
const CHANGES: usize = 24;
/// Turns of the mover at most; it ends with the accesses.
const TURNS: usize = 400;

fn run(seed: u64) -> Ran {
    let config = |random: &mut Random, choices: &mut MmConfig| {
        choices.thp =
            [ThpMode::Never, ThpMode::Always, ThpMode::Always, ThpMode::Reserve][random.below(4) as usize];
    };
    stage::run(seed, 32, config, play)
}

fn used_page(random: &mut Random) -> usize {
    let range = random.below(RANGES as u64) as usize;
    let page = if random.below(8) == 0 { random.below(RANGE as u64) } else { random.below(USED) * 51 };
    range * RANGE + page as usize
}

fn play(stage: &Stage<'_>, random: &mut Random) {
    stage.spoil(3 * RANGES);
    let homes = vec![Home::new(stage.mm, vec![Area::new(Kind::Anon, BASE, RANGES * RANGE)])];
    let (home, made) = (&homes[0], AtomicUsize::new(0));
    let nothing = stage.know_nothing(&homes);
    let all = (CPUS - 2) * ACCESSES;
    let job = |mut memories: Vec<Vec<Memory>>, mut random: Random| {
        let Some(inside) = home.enter(stage) else { panic!("the only home is closed") };
        match Machine::id().index() {
            0 => {
                for _ in (0..TURNS).take_while(|_| made.load(Ordering::SeqCst) < all) {
                    disturb(stage.mm, &inside, &mut random);
                    Machine::relax();
                }
            }
            1 => {
                for n in 0..CHANGES {
                    wait(&made, n * all / CHANGES);
                    if random.below(3) == 0 {
                        fork(stage.mm, &inside, &mut random);
                    } else {
                        let (pages, change) = any_part(&mut random);
                        inside.change(stage.mm, 0, pages, change);
                    }
                }
            }
            _ => {
                let mut held = None;
                for _ in 0..ACCESSES {
                    let page = used_page(&mut random);
                    inside.access(stage.mm, &mut memories[0], &mut random, 0, page);
                    walk_frames(stage.mm, &mut held, &mut random);
                    made.fetch_add(1, Ordering::SeqCst);
                }
                let_go(stage.mm, &mut held);
            }
        }
        stage.go(inside);
        memories
    };
    let mut memories = stage.on_all_cpus(random, nothing, job);
    promoter::drain(stage.mm);
    stage.mm.shrink();
    stage.close(homes, &mut memories);
}

/// Waits until so many accesses are made, but not for long.
fn wait(made: &AtomicUsize, accesses: usize) {
    (0..4 * TURNS).take_while(|_| made.load(Ordering::SeqCst) < accesses).for_each(|_| Machine::relax());
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

/// A child comes, writes a page, and ends.
pub(super) fn fork(mm: &Mm, inside: &Inside<'_>, random: &mut Random) {
    let Ok(child) = mm.fork_space(&inside.space()) else { return };
    let va = arch::VirtAddr::new(BASE).add(used_page(random) as u64 * PAGE_SIZE);
    // The page may not be mapped at this moment.
    let _ = mm.write_user(&child, va, &random.bits().to_le_bytes());
    mm.destroy_space(&child);
}

/// One thing that is done to frames.
fn disturb(mm: &Mm, inside: &Inside<'_>, random: &mut Random) {
    let Some(pfn) = inside.frame(0, used_page(random)) else { return };
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
    let target = if folio.kind() == PageKind::Anon { rmap::target_for(mm, folio.page()).ok() } else { None };
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
