//! Spaces that end while the promoter works for them: ranges are submitted, promoted and torn down at once.
#![forbid(unsafe_code)]

use std::sync::atomic::{AtomicUsize, Ordering};

use arch::{Cpu, Machine};

use super::area::{Area, Kind};
use super::home::Home;
use super::memory::Memory;
use super::person::Person;
use super::stage::{self, CPUS, Stage};
use super::{Ran, Scenario};
use crate::config::{Promote, PromotionThreshold, ThpMode};
use crate::testkit::Random;
use crate::thp::promoter;

/// See [`Scenario`].
pub(super) const SCENARIO: Scenario = Scenario {
    name: "exit",
    about: "three vCPUs fault into spaces and end them while one promotes their ranges",
    run,
};

const BASE: u64 = 0x4000_0000;
const RANGE: usize = 512;
/// Spaces: fewer than vCPUs that use them.
const HOMES: usize = 2;
/// What each of the three does.
const TURNS: u64 = 40;
/// Turns of the promoter at most; it ends with the others.
const DRAINS: usize = 4000;

fn run(seed: u64) -> Ran {
    let config = |random: &mut Random, choices: &mut crate::config::MmConfig| {
        choices.thp = ThpMode::Reserve;
        if let Ok(threshold) = PromotionThreshold::new(2) {
            choices.promotion_threshold = threshold;
        }
        choices.promote = stage::pick(random, Promote::ALL);
    };
    stage::run(seed, 20, config, play)
}

fn play(stage: &Stage<'_>, random: &mut Random) {
    stage.spoil(HOMES + 1);
    let home = |_| Home::new(stage.mm, vec![Area::new(Kind::Anon, BASE, RANGE)]);
    let homes: Vec<_> = (0..HOMES).map(home).collect();
    let (ended, nothing) = (AtomicUsize::new(0), stage.know_nothing(&homes));
    let mut memories = stage.on_all_cpus(random, nothing, |memories: Vec<Vec<Memory>>, random| {
        if Machine::id().index() == 0 {
            for _ in (0..DRAINS).take_while(|_| ended.load(Ordering::SeqCst) < CPUS - 1) {
                promoter::drain(stage.mm);
                Machine::relax();
            }
            return memories;
        }
        let mut person = Person::new(stage, &homes, memories, random);
        for _ in 0..TURNS {
            match person.random.below(16) {
                0 => person.move_on(),
                1 | 2 => person.rebuild_any(),
                3 => person.change_any(),
                _ => person.access_any(),
            }
        }
        ended.fetch_add(1, Ordering::SeqCst);
        person.end()
    });
    stage.close(homes, &mut memories);
    assert_eq!(promoter::backlog(stage.mm), 0, "requests of spaces that have ended are queued");
}
