//! More reservations than memory: whoever finds none free takes it from the reservations of others, and no access fails
//! while there is a page that nobody uses. One vCPU takes pages as fast as it can, folios for the pool, forks and pins;
//! it promotes ranges, which are filled, and split again for their zeros where memory is short.
#![forbid(unsafe_code)]

use arch::addr::PAGE_SIZE;
use arch::{Access, Cpu, Machine, Order, VirtAddr};

use super::area::{Area, Kind};
use super::home::Home;
use super::memory::Memory;
use super::person::Person;
use super::stage::{self, Stage, pick};
use super::{Ran, Scenario};
use crate::config::{Number, PromotionThreshold, ReserveReclaim, ThpMode};
use crate::hugetlb::HugeSize;
use crate::page::PageKind;
use crate::testkit::Random;
use crate::thp::promoter;

/// See [`Scenario`].
pub(super) const SCENARIO: Scenario = Scenario {
    name: "pressure",
    about: "vCPUs fault into more reservations than there is memory, while one takes all it can, forks and pins",
    run,
};

const BASE: u64 = 0x4000_0000;
const RANGE: usize = 512;
const HOMES: usize = 3;
/// Ranges of each home: together more than the machine has blocks of 2 MiB.
const RANGES: usize = 3;
/// What each vCPU does.
const TURNS: u64 = 90;
/// What the first vCPU does.
const DISTURBANCES: u64 = 70;
/// Most pages that it takes at a time: what is left is more than the others can use.
const TAKEN: u64 = 1800;
/// Pages of zeros that a huge page may keep.
const MAX_PTES_NONE: u64 = 64;

fn run(seed: u64) -> Ran {
    let config = |random: &mut Random, choices: &mut crate::config::MmConfig| {
        choices.thp = ThpMode::Reserve;
        choices.reserve_reclaim = pick(random, ReserveReclaim::ALL);
        // Few pages are written, so what is promoted can be had back almost whole.
        let threshold = pick(random, &[2, RANGE as u64]);
        choices.promotion_threshold = match PromotionThreshold::new(threshold) {
            Ok(all) => all,
            Err(pages) => panic!("a threshold of {pages} pages is not possible"),
        };
    };
    stage::run(seed, 12, config, play)
}

fn play(stage: &Stage<'_>, random: &mut Random) {
    if let Err(error) = stage.mm.thp.set(Number::MaxPtesNone, MAX_PTES_NONE) {
        panic!("{error}");
    }
    let home = |_| Home::new(stage.mm, vec![Area::new(Kind::Anon, BASE, RANGES * RANGE)]);
    let homes: Vec<_> = (0..HOMES).map(home).collect();
    let nothing = stage.know_nothing(&homes);
    let mut memories = stage.on_all_cpus(random, nothing, |memories: Vec<Vec<Memory>>, random| {
        if Machine::id().index() == 0 {
            let mut person = Person::new(stage, &homes, memories, random);
            (0..DISTURBANCES).for_each(|_| disturb(stage, &mut person));
            return person.end();
        }
        let mut person = Person::new(stage, &homes, memories, random);
        for _ in 0..TURNS {
            match person.random.below(16) {
                0 | 1 => person.move_on(),
                2 => person.change_any(),
                3 => person.rebuild_any(),
                _ => person.access_any(),
            }
        }
        person.end()
    });
    stage.close(homes, &mut memories);
}

/// Takes memory in one way or another, for a while, or has some of it used better.
fn disturb(stage: &Stage<'_>, person: &mut Person<'_>) {
    let mm = stage.mm;
    person.move_on();
    match person.random.below(8) {
        0 | 1 => resize(stage, &mut person.random),
        2 | 3 => take(stage, &mut person.random),
        4 => {
            let space = person.space();
            let child = space.and_then(|space| mm.fork_space(&space).ok());
            child.into_iter().for_each(|child| mm.destroy_space(&child));
        }
        5 => {
            let va = VirtAddr::new(BASE).add(PAGE_SIZE * person.random.below((RANGES * RANGE) as u64));
            let pinned = person.space().and_then(|space| mm.pin_user_pages(&space, va, 1, Access::Read).ok());
            let block = mm.alloc_contig(Order::new(4), PageKind::Kernel);
            block.into_iter().for_each(|block| mm.free_pages(block, Order::new(4)));
            pinned.into_iter().for_each(|pinned| mm.unpin(pinned));
        }
        _ => drop(promoter::drain(mm)),
    }
}

/// Takes pages as fast as it can, and gives them back.
fn take(stage: &Stage<'_>, random: &mut Random) {
    let page = |_| stage.mm.alloc_pages(Order::PAGE, PageKind::Anon).ok();
    let taken: Vec<_> = (0..random.below(TAKEN)).map_while(page).collect();
    (0..random.below(100)).for_each(|_| Machine::relax());
    taken.into_iter().for_each(|page| stage.mm.free_pages(page, Order::PAGE));
}

/// The pool grows by what it can get, and gives it back.
fn resize(stage: &Stage<'_>, random: &mut Random) {
    let mm = stage.mm;
    let grown = mm.hugetlb.set_nr(mm, HugeSize::M2, random.below(3));
    assert!(grown.persistent <= 2, "{} folios in the pool", grown.persistent);
    (0..random.below(200)).for_each(|_| Machine::relax());
    let shrunk = mm.hugetlb.set_nr(mm, HugeSize::M2, 0);
    assert_eq!((shrunk.persistent, shrunk.unrestored), (0, None), "folios that nobody uses");
}
