//! Promotion in place while the range is in use: threads fault in pages of two ranges, the promoter runs, and parts
//! are unmapped, protected and discarded under it.
#![forbid(unsafe_code)]

use std::sync::atomic::{AtomicUsize, Ordering};

use arch::{Cpu, Machine, Order, Pfn};

use super::area::{Area, Change, Kind};
use super::home::{Home, any_change};
use super::stage::{self, CPUS, Stage};
use super::{Ran, Scenario};
use crate::config::{PromotionThreshold, ThpMode};
use crate::testkit::Random;
use crate::thp::{promoter, reclaim};

/// See [`Scenario`].
pub(super) const SCENARIO: Scenario = Scenario {
    name: "promotion",
    about: "two vCPUs fault into reservations, one promotes, one changes parts of the ranges",
    run,
};

const BASE: u64 = 0x4000_0000;
const RANGE: usize = 512;
const RANGES: usize = 2;
/// Pages of each range that are used: more than the highest threshold.
const USED: u64 = 12;
/// Accesses of each of the two.
const ACCESSES: u64 = 60;
/// Changes, and turns of the promoter, at most; both go on only while there are accesses.
const TURNS: usize = 12;

fn run(seed: u64) -> Ran {
    let config = |random: &mut Random, choices: &mut crate::config::MmConfig| {
        choices.thp = if random.below(4) == 0 { ThpMode::Always } else { ThpMode::Reserve };
        if let Ok(threshold) = PromotionThreshold::new(2 + random.below(USED - 2)) {
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
    let (home, ended) = (&homes[0], AtomicUsize::new(0));
    let nothing = stage.know_nothing(&homes);
    let users = CPUS - 2;
    let job = |mut memories: Vec<Vec<super::memory::Memory>>, mut random: Random| {
        let Some(inside) = home.enter(stage) else { panic!("the only home is closed") };
        let busy = |turn: &usize| *turn < TURNS && ended.load(Ordering::SeqCst) < users;
        match Machine::id().index() {
            0 => {
                for _ in (0..).take_while(busy) {
                    promote(stage, &mut random);
                }
            }
            1 => {
                for _ in (0..).take_while(busy) {
                    let first = used_page(&mut random);
                    let len = [1, 1, 1, 50, 50, RANGES * RANGE][random.below(6) as usize];
                    let change = any_change(&mut random);
                    let small = matches!(change, Change::Populate(_));
                    let end = (first + if small { 1 } else { len }).min(RANGES * RANGE);
                    inside.change(stage.mm, 0, first..end, change);
                    (0..random.below(40)).for_each(|_| Machine::relax());
                }
            }
            _ => {
                for _ in 0..ACCESSES {
                    let page = used_page(&mut random);
                    inside.access(stage.mm, &mut memories[0], &mut random, 0, page);
                }
                ended.fetch_add(1, Ordering::SeqCst);
            }
        }
        stage.go(inside);
        memories
    };
    let mut memories = stage.on_all_cpus(random, nothing, job);
    promoter::drain(stage.mm);
    stage.close(homes, &mut memories);
}

/// One turn of the promoter; at times reservations go, or a walker holds a page of a block.
fn promote(stage: &Stage<'_>, random: &mut Random) {
    let mm = stage.mm;
    match random.below(8) {
        0 => drop(reclaim::drop_reservations(mm)),
        1 => {
            let bank = mm.ram()[0];
            let pfn: Pfn = bank.start.add(random.below(bank.len())).align_down(Order::PMD);
            let held = mm.try_get_folio(pfn);
            promoter::drain(mm);
            held.into_iter().for_each(|head| mm.put_folio(head));
        }
        _ => drop(promoter::drain(mm)),
    }
    Machine::relax();
}
