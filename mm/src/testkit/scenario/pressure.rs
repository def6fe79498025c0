//! More reservations than memory: whoever finds none free takes it from the reservations of others, and no access fails
//! while there is a page that nobody uses.
#![forbid(unsafe_code)]

use arch::{Cpu, Machine};

use super::area::{Area, Kind};
use super::home::Home;
use super::memory::Memory;
use super::person::Person;
use super::stage::{self, Stage};
use super::{Ran, Scenario};
use crate::config::{PromotionThreshold, ThpMode};
use crate::testkit::Random;

/// See [`Scenario`].
pub(super) const SCENARIO: Scenario = Scenario {
    name: "pressure",
    about: "vCPUs fault into more reservations than there is memory, while one takes folios for the pool",
    run,
};

const BASE: u64 = 0x4000_0000;
const RANGE: usize = 512;
const HOMES: usize = 3;
/// Ranges of each home: together more than the machine has blocks of 2 MiB.
const RANGES: usize = 3;
/// What each vCPU does.
const TURNS: u64 = 50;
/// Resizes of the pool.
const RESIZES: u64 = 12;

fn run(seed: u64) -> Ran {
    let config = |_: &mut Random, choices: &mut crate::config::MmConfig| {
        choices.thp = ThpMode::Reserve;
        // Nothing is promoted: what is in use stays far below the memory that there is.
        choices.promotion_threshold = match PromotionThreshold::new(RANGE as u64) {
            Ok(all) => all,
            Err(pages) => panic!("a threshold of {pages} pages is not possible"),
        };
    };
    stage::run(seed, 12, config, play)
}

fn play(stage: &Stage<'_>, random: &mut Random) {
    let home = |_| Home::new(stage.mm, vec![Area::new(Kind::Anon, BASE, RANGES * RANGE)]);
    let homes: Vec<_> = (0..HOMES).map(home).collect();
    let nothing = stage.know_nothing(&homes);
    let mut memories = stage.on_all_cpus(random, nothing, |memories: Vec<Vec<Memory>>, mut random| {
        if Machine::id().index() == 0 {
            (0..RESIZES).for_each(|_| resize(stage, &mut random));
            return memories;
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

/// The pool grows by what it can get, and gives it back.
fn resize(stage: &Stage<'_>, random: &mut Random) {
    let mm = stage.mm;
    let grown = mm.hugetlb.set_nr(mm, random.below(3));
    assert!(grown.nr <= 2, "{} folios in the pool", grown.nr);
    (0..random.below(200)).for_each(|_| Machine::relax());
    let shrunk = mm.hugetlb.set_nr(mm, 0);
    assert_eq!((shrunk.nr, shrunk.unrestored), (0, None), "folios that nobody uses");
}
