//! hugetlb memory while the pool is resized under it.
#![forbid(unsafe_code)]

use std::sync::atomic::{AtomicUsize, Ordering};

use arch::{Cpu, Machine};

use super::area::{Area, Kind};
use super::home::Home;
use super::memory::Memory;
use super::person::Person;
use super::stage::{self, CPUS, Stage, pick};
use super::{Ran, Scenario};
use crate::hugetlb::HugeSize;
use crate::hvo::Switch;
use crate::testkit::Random;

/// See [`Scenario`].
pub(super) const SCENARIO: Scenario = Scenario {
    name: "hugetlb",
    about: "three vCPUs map, fault and unmap hugetlb pages of two spaces while one resizes and divides the pools",
    run,
};

/// What each of the three does.
const TURNS: u64 = 16;
/// Resizes at most.
const RESIZES: usize = 8;
/// Folios at most.
const FOLIOS: u64 = 4;
const HOMES: usize = 2;
const PROMISED: u64 = 0x4000_0000;
const LOOSE: u64 = 0x8000_0000;

fn run(seed: u64) -> Ran {
    stage::run(seed, 24, |_, _| (), play)
}

fn play(stage: &Stage<'_>, random: &mut Random) {
    let mm = stage.mm;
    let size = pick(random, &[HugeSize::K64, HugeSize::M2]);
    stage.spoil(FOLIOS as usize + 1);
    resize(stage, size, FOLIOS);
    let home = |_| {
        let promised = Area::new(Kind::Promised(size), PROMISED, 2);
        Home::new(mm, vec![promised, Area::new(Kind::Loose(size), LOOSE, 1)])
    };
    let homes: Vec<_> = (0..HOMES).map(home).collect();
    let ended = AtomicUsize::new(0);
    let nothing = stage.know_nothing(&homes);
    let job = |memories: Vec<Vec<Memory>>, mut random: Random| {
        if Machine::id().index() == 0 {
            let busy = |turn: &usize| *turn < RESIZES && ended.load(Ordering::SeqCst) < CPUS - 1;
            for _ in (0..).take_while(busy) {
                treat_pool(stage, size, &mut random);
            }
            return memories;
        }
        let mut person = Person::new(stage, &homes, memories, random);
        for _ in 0..TURNS {
            match person.random.below(8) {
                0 => person.move_on(),
                1..3 => person.change_any(),
                _ => person.access_any(),
            }
        }
        ended.fetch_add(1, Ordering::SeqCst);
        person.end()
    };
    let mut memories = stage.on_all_cpus(random, nothing, job);
    stage.close(homes, &mut memories);
    HugeSize::ALL.into_iter().for_each(|size| resize(stage, size, 0));
    let left = HugeSize::ALL.map(|size| mm.hugetlb.counts(size).nr);
    assert_eq!(left, [0; 4], "folios that nobody uses stay in the pool");
}

fn resize(stage: &Stage<'_>, size: HugeSize, folios: u64) {
    let resized = stage.mm.hugetlb.set_nr(stage.mm, size, folios);
    assert_eq!((resized.unoptimized, resized.unrestored), (None, None), "{folios} folios were asked for");
}

/// One thing that may be done to the pool at any time.
fn treat_pool(stage: &Stage<'_>, size: HugeSize, random: &mut Random) {
    let mm = stage.mm;
    match random.below(8) {
        0 => assert_eq!(mm.hugetlb.restore_free(mm).first_error, None),
        1 => assert_eq!(mm.hugetlb.optimize_free(mm).first_error, None),
        2 => {
            let to = if random.below(2) == 0 { Switch::On } else { Switch::Off };
            assert_eq!(mm.hvo.set_switch(mm, to), Ok(()));
        }
        3 => {
            // Into pages of 64 KiB, which are those of the areas, or nobody's.
            let demoted = mm.hugetlb.demote(mm, HugeSize::M2, random.below(2));
            assert_eq!((demoted.unrestored, demoted.unoptimized), (None, None));
        }
        _ => resize(stage, pick(random, &[size, HugeSize::M2]), random.below(FOLIOS + 1)),
    }
    Machine::relax();
}
