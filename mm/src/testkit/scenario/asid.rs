//! More spaces than ASIDs: numbers are given anew while vCPUs run the spaces that had them before.
//!
//! The spaces that stay are run on every vCPU first, so that each TLB may hold their translations under the lowest
//! numbers. Then almost all numbers of 8 bits are used up, and the generation rolls over while all vCPUs switch between
//! the spaces that stay and new ones that map the same addresses.
#![forbid(unsafe_code)]

use arch::VirtAddr;
use arch::model::{user_load, user_store};

use super::area::{Area, Kind, RW};
use super::home::Home;
use super::person::Person;
use super::stage::{self, Stage};
use super::{Ran, Scenario};
use crate::config::ThpMode;
use crate::space::MmapRequest;
use crate::stats::Counter;
use crate::testkit::Random;

/// See [`Scenario`].
pub(super) const SCENARIO: Scenario = Scenario {
    name: "asid",
    about: "ASIDs of 8 bits run out while vCPUs switch between old and new spaces",
    run,
};

/// Spaces that stay.
const HOMES: usize = 3;
/// What each vCPU does.
const TURNS: u64 = 24;
const BASE: VirtAddr = VirtAddr::new(0x4000_0000);
const PAGES: usize = 2;

fn run(seed: u64) -> Ran {
    stage::run_on(
        seed,
        16,
        |desc| desc.features.asid_bits = 8,
        |_, choices| choices.thp = ThpMode::Never,
        play,
    )
}

fn play(stage: &Stage<'_>, random: &mut Random) {
    let home = |_| Home::new(stage.mm, vec![Area::new(Kind::Anon, BASE.raw(), PAGES)]);
    let homes: Vec<_> = (0..HOMES).map(home).collect();
    let nothing = stage.know_nothing(&homes);
    let memories = stage.on_all_cpus(random, nothing, |memories, random| {
        let mut person = Person::new(stage, &homes, memories, random);
        for n in 0..HOMES {
            person.move_to(n);
            person.access_any();
            person.access_any();
        }
        person.end()
    });
    let spent = 232 + random.below(20);
    (0..spent).for_each(|_| spend(stage));
    let mut memories = stage.on_all_cpus(random, memories, |memories, random| {
        let mut person = Person::new(stage, &homes, memories, random);
        for turn in 0..TURNS {
            if turn % 4 == 3 {
                person.leave();
                pass_by(stage, &mut person.random);
                continue;
            }
            match person.random.below(8) {
                0 => person.change_any(),
                1..4 => person.access_any(),
                _ => (0..=person.random.below(6)).for_each(|_| person.move_on()),
            }
        }
        person.end()
    });
    stage.close(homes, &mut memories);
    assert!(stage.mm.stats.get(Counter::AsidRollover) != 0, "the ASIDs did not run out");
}

/// Uses up one ASID.
fn spend(stage: &Stage<'_>) {
    let mm = stage.mm;
    let space = mm.new_space().unwrap_or_else(|error| panic!("no new space: {error}"));
    mm.activate_space(Some(&space));
    mm.activate_space(None);
    mm.destroy_space(&space);
}

/// A program that maps one page where others have theirs, and ends: what it finds there are zeros, and then what it
/// stored.
fn pass_by(stage: &Stage<'_>, random: &mut Random) {
    let mm = stage.mm;
    let space = mm.new_space().unwrap_or_else(|error| panic!("no new space: {error}"));
    if let Err(error) = mm.mmap(&space, &MmapRequest::anonymous(4096, RW).fixed(BASE.raw())) {
        panic!("a new space maps nothing: {error}");
    }
    stage.switch_to(Some(&space));
    let word = random.bits() | 1;
    if random.below(2) == 0 {
        assert_eq!(user_load(BASE), Ok(0), "a new program reads what is not its own");
    }
    assert_eq!(user_store(BASE, word), Ok(()));
    assert_eq!(user_load(BASE), Ok(word), "a new program does not read what it stored");
    assert!(user_load(BASE.add(4096)).is_err(), "a new program reads what it never mapped");
    stage.switch_to(None);
    mm.destroy_space(&space);
}
