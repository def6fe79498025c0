//! An object of hugetlb pages of any size that several spaces map, shared and private.
#![forbid(unsafe_code)]

use std::sync::Arc;

use arch::contract::Cpu;
use arch::model::MachineDesc;
use arch::{Machine, Order};

use super::area::Kind;
use super::family::{Family, Habits};
use super::home::Home;
use super::huge_deeds;
use super::object::Book;
use super::person::Person;
use super::stage::{self, CPUS, Stage, pick};
use super::view::View;
use super::words::Unit;
use super::{Ran, Scenario};
use crate::config::{Contpte, Hgm, HvoStrategy, Mapcount, MmConfig, ThpMode};
use crate::hugetlb::HugeSize;
use crate::testkit::Random;

/// See [`Scenario`].
pub(super) const SCENARIO: Scenario = Scenario {
    name: "sizes",
    about: "spaces share an object of hugetlb pages, and copy it, fork, truncate, move, demote and end",
    run,
};

/// What each vCPU does.
const TURNS: u64 = 60;
/// Spaces of the half of the runs in which none descends from another.
const HOMES: usize = 2;
/// Where the object is mapped, shared, and behind it, private.
const OBJECT: u64 = 0x40_0000_0000;
const HABITS: Habits = Habits {
    object: 20,
    store: 2,
    burst: 0,
    load: 1,
    scratch: 0,
    protect: 0,
    promote: 0,
    fork: 3,
    end: 3,
    most: 4,
};

/// Spaces at once; of those with large pages, fewer.
fn spaces(size: HugeSize) -> usize {
    if size < HugeSize::M32 { HABITS.most } else { 2 }
}

fn run(seed: u64) -> Ran {
    // As the size of memory follows from it: of the seed alone.
    let size = match seed % 16 {
        0..10 => HugeSize::K64,
        10..15 => HugeSize::M2,
        _ => HugeSize::M32,
    };
    let config = |random: &mut Random, choices: &mut MmConfig| {
        choices.mapcount = pick(random, Mapcount::ALL);
        choices.contpte = pick(random, Contpte::ALL);
        choices.thp = ThpMode::Never;
        choices.hvo = HvoStrategy::Off;
        choices.hgm = pick(random, Hgm::ALL);
    };
    let mib = ((huge_deeds::most(size, spaces(size)) * size.bytes() * 5 / 4) >> 20) + 64;
    let patient = |desc: &mut MachineDesc| desc.max_steps *= 8;
    stage::run_on(seed, mib, patient, config, |stage, random| play(stage, size, random))
}

fn play(stage: &Stage<'_>, size: HugeSize, random: &mut Random) {
    stage.spoil(if size.order() < Order::PMD { 3 } else { 12 });
    huge_deeds::fill(stage.mm, size, spaces(size));
    match random.below(2) {
        0 => relatives(stage, Unit::Huge(size), random),
        _ => strangers(stage, Unit::Huge(size), random),
    }
    huge_deeds::drain(stage.mm);
}

/// Spaces that fork.
fn relatives(stage: &Stage<'_>, unit: Unit, random: &mut Random) {
    let most = unit.huge().map_or(HABITS.most, spaces);
    let family = Family::of(stage.mm, Habits { most, ..HABITS }, unit);
    stage.on_all_cpus(random, vec![(); CPUS], |(), mut random| {
        family.live(stage, Machine::id().index(), TURNS, &mut random);
    });
    family.end(stage, random);
}

/// Spaces that come and go, whose mappings come, go, move and change their rights.
fn strangers(stage: &Stage<'_>, unit: Unit, random: &mut Random) {
    let book = Arc::new(Book::of(stage.mm, unit));
    let home = |_| {
        let views = [(Kind::Shared, OBJECT), (Kind::Private, OBJECT + 16 * unit.bytes())];
        Home::with_views(stage.mm, Vec::new(), views.map(|(kind, at)| View::new(&book, kind, at)).into())
    };
    let homes: Vec<_> = (0..HOMES).map(home).collect();
    let nothing = stage.know_nothing(&homes);
    let mut memories = stage.on_all_cpus(random, nothing, |memories, random| {
        let mut person = Person::new(stage, &homes, memories, random);
        for _ in 0..TURNS {
            match person.random.below(16) {
                0 => person.move_on(),
                1 => person.rebuild_any(),
                _ => person.use_object(),
            }
        }
        person.end()
    });
    stage.close(homes, &mut memories);
    Book::close(book, stage.mm);
}
