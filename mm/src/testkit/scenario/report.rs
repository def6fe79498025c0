//! Readers that hold no lock while spaces change, fork and end.
#![forbid(unsafe_code)]

use std::convert::Infallible;
use std::sync::atomic::{AtomicUsize, Ordering};

use arch::{Cpu, Machine, VirtAddr};

use super::area::{Area, Kind};
use super::home::Home;
use super::memory::Memory;
use super::person::Person;
use super::stage::{self, CPUS, Stage};
use super::{Ran, Scenario};
use crate::Mm;
use crate::config::{HvoStrategy, Mapcount, ThpMode};
use crate::report::{Reading, Sizes};
use crate::space::AddressSpace;
use crate::testkit::Random;

/// See [`Scenario`].
pub(super) const SCENARIO: Scenario = Scenario {
    name: "report",
    about: "two vCPUs fault into spaces, change, fork and end them while two read smaps, pagemap and every frame",
    run,
};

/// Across a boundary of level-2 entries.
const BASE: u64 = 0x4020_0000 - 3 * 4096;
/// Three pages, a block, and five pages.
const PAGES: usize = 520;
/// Spaces, beside those that are forked off.
const HOMES: usize = 2;
/// What each of the two that change does.
const TURNS: u64 = 24;
/// Looks of each reader at most; it ends with the others.
const LOOKS: usize = 60;
/// Words of a file that are read at once.
const WORDS: u64 = 64;

fn run(seed: u64) -> Ran {
    let config = |random: &mut Random, choices: &mut crate::config::MmConfig| {
        choices.thp = ThpMode::Always;
        choices.hvo = HvoStrategy::Off;
        choices.mapcount = Mapcount::ALL[random.below(Mapcount::ALL.len() as u64) as usize];
    };
    stage::run(seed, 24, config, play)
}

fn play(stage: &Stage<'_>, random: &mut Random) {
    let home = |_| Home::new(stage.mm, vec![Area::new(Kind::Anon, BASE, PAGES)]);
    let homes: Vec<_> = (0..HOMES).map(home).collect();
    let (ended, nothing) = (AtomicUsize::new(0), stage.know_nothing(&homes));
    let mut memories = stage.on_all_cpus(random, nothing, |memories: Vec<Vec<Memory>>, mut random| {
        if Machine::id().index() < 2 {
            for _ in (0..LOOKS).take_while(|_| ended.load(Ordering::SeqCst) < CPUS - 2) {
                look(stage.mm, &mut random);
            }
            return memories;
        }
        let mut person = Person::new(stage, &homes, memories, random);
        for _ in 0..TURNS {
            match person.random.below(12) {
                0 => person.move_on(),
                1 => person.rebuild_any(),
                2..5 => person.change_any(),
                5 => fork(stage.mm, &person),
                _ => person.access_any(),
            }
        }
        ended.fetch_add(1, Ordering::SeqCst);
        person.end()
    });
    let Ok(()) = stage.mm.spaces.try_for_each::<Infallible>(|space| {
        let (start, end) = (VirtAddr::new(BASE), VirtAddr::new(BASE + PAGES as u64 * 4096));
        let locked = stage.mm.sizes(space, start, end, Reading::Locked);
        assert_eq!(locked, stage.mm.sizes(space, start, end, Reading::LockFree), "at rest");
        Ok(())
    });
    stage.close(homes, &mut memories);
}

/// Forks the space that a vCPU is in; looks at the child, and ends it.
fn fork(mm: &Mm, person: &Person<'_>) {
    let Some(Ok(child)) = person.space().map(|parent| mm.fork_space(&parent)) else { return };
    sane(&mm.glance(&child));
    mm.destroy_space(&child);
    assert_eq!(mm.glance(&child), Sizes::default(), "of a space that has ended");
}

/// What holds of every answer, whatever happens meanwhile.
fn sane(sizes: &Sizes) {
    let rss = sizes.rss();
    assert!(rss <= PAGES as u64 * 4096, "more is resident than the area has: {sizes:?}");
    assert!(sizes.pss <= rss && sizes.private + sizes.shared == rss, "{sizes:?}");
    assert!(sizes.referenced <= rss && sizes.anonymous_blocks <= sizes.anonymous, "{sizes:?}");
}

/// Looks at all spaces, or at some frames.
fn look(mm: &Mm, random: &mut Random) {
    let Ok(()) = mm.spaces.try_for_each::<Infallible>(|space| {
        match random.below(4) {
            0 | 1 => sane(&mm.glance(space)),
            2 => read(mm, space),
            _ => {
                let mut words = [0; WORDS as usize];
                let first = BASE / 4096 + random.below(PAGES as u64);
                mm.read_pagemap(space, first, &mut words);
                let managed =
                    |word: u64| word == 0 || mm.pfn_valid(arch::Pfn::new(word & crate::report::pagemap::PFN));
                assert!(words.into_iter().all(managed), "pagemap names a frame that is no RAM");
            }
        }
        Ok(())
    });
    let (mut words, first) = ([0; WORDS as usize], mm.ram()[0].start.raw());
    let at = first + random.below(mm.end_of_ram() - first);
    mm.read_kpagecount(at, &mut words);
    let most = (HOMES + CPUS) as u64 * PAGES as u64;
    assert!(words.iter().all(|&count| count <= most), "a count that was never: {words:?}");
    mm.read_kpageflags(at, &mut words);
}

/// Reads smaps as a program does.
fn read(mm: &Mm, space: &AddressSpace) {
    let (mut text, mut from) = (String::new(), VirtAddr::new(0));
    while let Ok(Some(next)) = mm.write_smaps(space, VirtAddr::new(0), from, &mut text) {
        assert!(next > from, "smaps does not get on at {from}");
        from = next;
    }
    assert_eq!(mm.write_smaps_rollup(space, &mut text), Ok(()));
}
