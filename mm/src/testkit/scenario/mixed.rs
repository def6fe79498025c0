//! Everything at once: programs come and go, vCPUs switch between them, and each reads back what it wrote.
#![forbid(unsafe_code)]

use super::area::{Area, Kind};
use super::home::{HEAP, Home};
use super::person::Person;
use super::stage::{self, Stage};
use super::{Ran, Scenario};
use crate::testkit::Random;

/// See [`Scenario`].
pub(super) const SCENARIO: Scenario = Scenario {
    name: "mixed",
    about: "vCPUs switch between spaces that come and go, and fault, store, load, change and end them",
    run,
};

/// What each vCPU does.
const TURNS: u64 = 60;
/// Spaces: fewer than vCPUs, so that two are often in one.
const HOMES: usize = 3;
/// Below a boundary of level-2 entries.
const NEAR: u64 = 0x4020_0000 - 3 * 4096;
/// Below a boundary of level-0 entries.
const FAR: u64 = 0x80_0000_0000 - 2 * 4096;

fn run(seed: u64) -> Ran {
    stage::run(seed, 16, |_, _| (), play)
}

fn home(stage: &Stage<'_>) -> Home {
    let areas =
        vec![Area::new(Kind::Anon, NEAR, 8), Area::new(Kind::Anon, FAR, 4), Area::new(Kind::Heap, HEAP, 5)];
    Home::new(stage.mm, areas)
}

fn play(stage: &Stage<'_>, random: &mut Random) {
    let homes: Vec<_> = (0..HOMES).map(|_| home(stage)).collect();
    let nothing = stage.know_nothing(&homes);
    let mut memories = stage.on_all_cpus(random, nothing, |memories, random| {
        let mut person = Person::new(stage, &homes, memories, random);
        for _ in 0..TURNS {
            match person.random.below(16) {
                0 => person.move_on(),
                1 => person.rebuild_any(),
                2..5 => person.change_any(),
                _ => person.access_any(),
            }
        }
        person.end()
    });
    stage.close(homes, &mut memories);
}
