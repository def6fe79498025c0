//! Four threads of one program: all race on a handful of pages.
#![forbid(unsafe_code)]

use super::area::{Area, Kind};
use super::home::{HEAP, Home};
use super::person::Person;
use super::stage::{self, Stage};
use super::{Ran, Scenario};
use crate::config::ThpMode;
use crate::testkit::Random;

/// See [`Scenario`].
pub(super) const SCENARIO: Scenario = Scenario {
    name: "shared",
    about: "four vCPUs in one space load, store, munmap, mprotect and discard the same few pages",
    run,
};

/// What each vCPU does.
const TURNS: u64 = 60;
/// Two pages below a boundary of level-2 entries, and more above.
const BASE: u64 = 0x4020_0000 - 2 * 4096;

fn run(seed: u64) -> Ran {
    stage::run(seed, 16, |_, choices| choices.thp = ThpMode::Never, play)
}

fn play(stage: &Stage<'_>, random: &mut Random) {
    let pages = 3 + random.below(4) as usize;
    let areas = vec![Area::new(Kind::Anon, BASE, pages), Area::new(Kind::Heap, HEAP, 3)];
    let homes = vec![Home::new(stage.mm, areas)];
    let nothing = stage.know_nothing(&homes);
    let mut memories = stage.on_all_cpus(random, nothing, |memories, random| {
        let mut person = Person::new(stage, &homes, memories, random);
        person.move_to(0);
        for _ in 0..TURNS {
            match person.random.below(10) {
                0..7 => person.access_any(),
                _ => person.change_any(),
            }
        }
        person.look_around();
        person.end()
    });
    stage.close(homes, &mut memories);
}
