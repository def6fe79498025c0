//! Everything at once: threads fault in pages of two ranges, the promoter runs, parts are unmapped, protected and
//! discarded under it, hugetlb folios are optimised and restored beside it, and walkers try every frame.
#![forbid(unsafe_code)]

use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};

use arch::{Cpu, Machine};

use super::area::{Area, Change, Kind, RW};
use super::home::{Home, Inside, any_change};
use super::memory::Memory;
use super::stage::{self, CPUS, Stage};
use super::{Ran, Scenario};
use crate::Mm;
use crate::config::{PromotionThreshold, ThpMode};
use crate::page::FolioRef;
use crate::testkit::Random;
use crate::thp::{promoter, reclaim};

/// See [`Scenario`].
pub(super) const SCENARIO: Scenario = Scenario {
    name: "promotion",
    about: "two vCPUs fault and walk, one promotes and resizes the hugetlb pool, one changes the ranges",
    run,
};

const BASE: u64 = 0x4000_0000;
const RANGE: usize = 512;
const RANGES: usize = 2;
/// Pages of each range that are used most.
const USED: u64 = 12;
/// The highest threshold.
const MOST_THRESHOLD: u64 = 6;
/// Accesses of each of the two that access.
const ACCESSES: usize = 100;
/// Changes, spread over the time of the accesses.
const CHANGES: usize = 14;
/// Turns of the promoter at most; it ends with the accesses.
const TURNS: usize = 2000;

fn run(seed: u64) -> Ran {
    let config = |random: &mut Random, choices: &mut crate::config::MmConfig| {
        choices.thp = if random.below(8) == 0 { ThpMode::Always } else { ThpMode::Reserve };
        if let Ok(threshold) = PromotionThreshold::new(2 + random.below(MOST_THRESHOLD - 1)) {
            choices.promotion_threshold = threshold;
        }
    };
    stage::run(seed, 24, config, play)
}

/// A page of a range: mostly one of few that are spread over the range, so that the threshold is reached.
fn used_page(random: &mut Random) -> usize {
    let range = random.below(RANGES as u64) as usize;
    let page = if random.below(8) == 0 { random.below(RANGE as u64) } else { random.below(USED) * 46 };
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
                let mut walker = Walker::default();
                for _ in (0..TURNS).take_while(|_| made.load(Ordering::SeqCst) < all) {
                    promote(stage, &inside, &mut walker, &mut random);
                }
                walker.let_go(stage.mm);
            }
            1 => {
                for n in 0..CHANGES {
                    wait(&made, n * all / CHANGES);
                    let (pages, change) = any_part(&mut random);
                    inside.change(stage.mm, 0, pages, change);
                }
            }
            _ => {
                let mut walker = Walker::default();
                for _ in 0..ACCESSES {
                    let page = used_page(&mut random);
                    inside.access(stage.mm, &mut memories[0], &mut random, 0, page);
                    walker.turn(stage.mm, &inside, &mut random);
                    made.fetch_add(1, Ordering::SeqCst);
                }
                walker.let_go(stage.mm);
            }
        }
        stage.go(inside);
        memories
    };
    let mut memories = stage.on_all_cpus(random, nothing, job);
    promoter::drain(stage.mm);
    assert_eq!(stage.mm.hugetlb.set_nr(stage.mm, 0).unrestored, None);
    stage.close(homes, &mut memories);
}

/// Waits until so many accesses are made, but not for long.
fn wait(made: &AtomicUsize, accesses: usize) {
    (0..TURNS).take_while(|_| made.load(Ordering::SeqCst) < accesses).for_each(|_| Machine::relax());
}

/// A change. One in two concerns a whole range, most of these so that it begins anew and is reserved again.
fn any_part(random: &mut Random) -> (Range<usize>, Change) {
    let first = used_page(random);
    let range = first - first % RANGE;
    match random.below(8) {
        0 | 1 => (range..range + RANGE, Change::Map(RW)),
        2 => (range..range + RANGE, Change::Discard),
        3 => (0..RANGES * RANGE, Change::Protect(RW)),
        4 => (first..(first + 100).min(RANGES * RANGE), any_change(random)),
        _ => (first..first + 1, any_change(random)),
    }
}

/// One turn of the promoter; at times reservations go, or a hugetlb folio comes, optimised, or goes, restored.
fn promote(stage: &Stage<'_>, inside: &Inside<'_>, walker: &mut Walker, random: &mut Random) {
    let mm = stage.mm;
    walker.turn(mm, inside, random);
    match random.below(1024) {
        0 => drop(reclaim::drop_reservations(mm)),
        1..24 => drop(mm.hugetlb.set_nr(mm, random.below(2))),
        _ => drop(promoter::drain(mm)),
    }
    Machine::relax();
}

/// Somebody who walks physical memory: at times he holds a reference to a page of a range, or of whatever frame there
/// is, for a few turns.
#[derive(Default)]
struct Walker(Option<FolioRef>);

impl Walker {
    fn turn(&mut self, mm: &Mm, inside: &Inside<'_>, random: &mut Random) {
        if random.below(8) == 0 {
            self.let_go(mm);
        } else if self.0.is_none() && random.below(16) == 0 {
            self.0 = inside.frame(0, used_page(random)).and_then(|pfn| mm.try_get_folio(pfn));
        } else if self.0.is_none() {
            let bank = mm.ram()[0];
            self.0 = mm.try_get_folio(bank.start.add(random.below(bank.len())));
        }
    }
    fn let_go(&mut self, mm: &Mm) {
        if let Some(head) = self.0.take() {
            mm.put_folio(head);
        }
    }
}
