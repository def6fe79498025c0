//! Spaces that fork, write, unmap, protect, promote and end while khugepaged scans them.
#![forbid(unsafe_code)]

use arch::{Cpu, Machine};

use super::family::{Family, Habits};
use super::stage::{self, CPUS, Stage, pick};
use super::{Ran, Scenario};
use crate::config::{HvoStrategy, Mapcount, MmConfig, Number, PromotionThreshold, ThpMode};
use crate::testkit::Random;
use crate::thp::khugepaged;

/// See [`Scenario`].
pub(super) const SCENARIO: Scenario = Scenario {
    name: "khugepaged",
    about: "one vCPU scans and changes modes and limits, three fork spaces, write to them, protect and end them",
    run,
};

/// What each vCPU does.
const TURNS: u64 = 60;
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
/// Scans at most.
const SCANS: u64 = 25;

fn run(seed: u64) -> Ran {
    let config = |random: &mut Random, choices: &mut MmConfig| {
        choices.thp = pick(random, &[ThpMode::Defer, ThpMode::Defer, ThpMode::Always, ThpMode::Reserve]);
        choices.hvo = HvoStrategy::Off;
        choices.mapcount = pick(random, Mapcount::ALL);
        if let Ok(threshold) = PromotionThreshold::new(2) {
            choices.promotion_threshold = threshold;
        }
    };
    stage::run(seed, 48, config, play)
}

fn play(stage: &Stage<'_>, random: &mut Random) {
    stage.spoil(3);
    let family = Family::new(stage.mm, HABITS);
    stage.on_all_cpus(random, vec![(); CPUS], |(), mut random| match Machine::id().index() {
        0 => scan(stage, &mut random),
        cpu => family.live(stage, cpu, TURNS, &mut random),
    });
    family.end(stage, random);
}

/// Scans of all lengths, under modes and limits that change.
fn scan(stage: &Stage<'_>, random: &mut Random) {
    let thp = &stage.mm.thp;
    for _ in 0..SCANS {
        match random.below(6) {
            0 => thp.set_mode(pick(random, ThpMode::ALL)),
            1 | 2 => {
                let (number, most) = pick(
                    random,
                    &[(Number::MaxPtesShared, 512), (Number::MaxPtesNone, 511), (Number::MaxPtesNone, 508)],
                );
                let value = if random.below(4) == 0 { random.below(most) } else { most };
                assert_eq!(thp.set_number(number, &value.to_string()), Ok(()));
            }
            _ => {}
        }
        if matches!(thp.mode(), ThpMode::Never) {
            thp.set_mode(ThpMode::Defer);
        }
        khugepaged::scan(stage.mm, 1 + random.below(4096));
    }
}
