//! Snapshots: a space and a child or two that come and go while others write, promote and look.
#![forbid(unsafe_code)]

use arch::{Cpu, Machine};

use super::family::{Family, Habits};
use super::stage::{self, CPUS, Stage, pick};
use super::{Ran, Scenario};
use crate::config::{HvoStrategy, Mapcount, MmConfig, PromotionThreshold, ThpMode};
use crate::testkit::Random;

/// See [`Scenario`].
pub(super) const SCENARIO: Scenario = Scenario {
    name: "snapshot",
    about: "four vCPUs write to huge pages that a child shares, end the child, promote and fork again",
    run,
};

/// What each vCPU does.
const TURNS: u64 = 90;
const HABITS: Habits = Habits {
    object: 0,
    store: 10,
    burst: 2,
    load: 4,
    scratch: 1,
    protect: 1,
    promote: 5,
    fork: 3,
    end: 6,
    most: 3,
};

fn run(seed: u64) -> Ran {
    let config = |random: &mut Random, choices: &mut MmConfig| {
        choices.thp = pick(random, &[ThpMode::Always, ThpMode::Reserve]);
        choices.hvo = HvoStrategy::Off;
        choices.mapcount = pick(random, Mapcount::ALL);
        if let Ok(threshold) = PromotionThreshold::new(1 + random.below(3)) {
            choices.promotion_threshold = threshold;
        }
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
