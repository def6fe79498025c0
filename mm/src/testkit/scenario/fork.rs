//! Spaces that fork while others write to them, unmap, protect, promote and end.
#![forbid(unsafe_code)]

use arch::{Cpu, Machine};

use super::family::{Family, Habits};
use super::stage::{self, CPUS, Stage, pick};
use super::{Ran, Scenario};
use crate::config::{HvoStrategy, Mapcount, MmConfig, Promote, PromotionThreshold, ThpMode};
use crate::testkit::Random;

/// See [`Scenario`].
pub(super) const SCENARIO: Scenario = Scenario {
    name: "fork",
    about: "four vCPUs fork spaces, write to what these share, protect, promote and end them",
    run,
};

/// What each vCPU does.
const TURNS: u64 = 100;
const HABITS: Habits = Habits {
    object: 12,
    store: 9,
    burst: 0,
    load: 6,
    scratch: 1,
    protect: 1,
    promote: 1,
    fork: 3,
    end: 3,
    most: 5,
};

fn run(seed: u64) -> Ran {
    let config = |random: &mut Random, choices: &mut MmConfig| {
        choices.thp = pick(random, ThpMode::ALL);
        choices.hvo = HvoStrategy::Off;
        choices.mapcount = pick(random, Mapcount::ALL);
        if let Ok(threshold) = PromotionThreshold::new(2) {
            choices.promotion_threshold = threshold;
        }
        choices.promote = pick(random, Promote::ALL);
    };
    stage::run(seed, 48, config, play)
}

fn play(stage: &Stage<'_>, random: &mut Random) {
    stage.spoil(3);
    let family = Family::new(stage.mm, HABITS);
    stage.on_all_cpus(random, vec![(); CPUS], |(), mut random| {
        family.live(stage, Machine::id().index(), TURNS, &mut random);
    });
    family.end(stage, random);
}
