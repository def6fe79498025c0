//! Everything at once: programs come and go, vCPUs switch between them, and each reads back what it wrote, also in an
//! object that all map.
#![forbid(unsafe_code)]

use std::sync::Arc;

use super::area::{Area, Kind};
use super::home::{HEAP, Home};
use super::object::Book;
use super::person::Person;
use super::stage::{self, Stage, pick};
use super::view::View;
use super::{Ran, Scenario};
use crate::config::{HvoStrategy, Mapcount, MmConfig};
use crate::testkit::Random;

/// See [`Scenario`].
pub(super) const SCENARIO: Scenario = Scenario {
    name: "mixed",
    about: "vCPUs switch between spaces that come and go, and fault, store, load, change and end them",
    run,
};

/// What each vCPU does.
const TURNS: u64 = 80;
/// Spaces: fewer than vCPUs, so that two are often in one.
const HOMES: usize = 3;
/// Below a boundary of level-2 entries.
const NEAR: u64 = 0x4020_0000 - 3 * 4096;
/// Below a boundary of level-0 entries.
const FAR: u64 = 0x80_0000_0000 - 2 * 4096;
/// Where an object is mapped, shared, and behind it, private.
const OBJECT: u64 = 0x40_0000_0000 - 3 * 4096;

fn run(seed: u64) -> Ran {
    let config = |random: &mut Random, choices: &mut MmConfig| {
        choices.mapcount = pick(random, Mapcount::ALL);
        choices.hvo = HvoStrategy::Off;
    };
    stage::run(seed, 16, config, play)
}

fn home(stage: &Stage<'_>, book: &Arc<Book>) -> Home {
    let areas =
        vec![Area::new(Kind::Anon, NEAR, 8), Area::new(Kind::Anon, FAR, 4), Area::new(Kind::Heap, HEAP, 5)];
    let views =
        vec![View::new(book, Kind::Shared, OBJECT), View::new(book, Kind::Private, OBJECT + 16 * 4096)];
    Home::with_views(stage.mm, areas, views)
}

fn play(stage: &Stage<'_>, random: &mut Random) {
    let book = Arc::new(Book::new(stage.mm));
    let homes: Vec<_> = (0..HOMES).map(|_| home(stage, &book)).collect();
    let nothing = stage.know_nothing(&homes);
    let mut memories = stage.on_all_cpus(random, nothing, |memories, random| {
        let mut person = Person::new(stage, &homes, memories, random);
        for _ in 0..TURNS {
            match person.random.below(16) {
                0 => person.move_on(),
                1 => person.rebuild_any(),
                2..5 => person.change_any(),
                5..10 => person.use_object(),
                _ => person.access_any(),
            }
        }
        person.end()
    });
    stage.close(homes, &mut memories);
    Book::close(book, stage.mm);
}
