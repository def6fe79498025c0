//! Blocks that were split into folded groups, and change in parts: two vCPUs load and store at the edges of groups, one
//! clears access flags, forks, and moves the folio, one protects, unmaps, discards, and joins runs that begin or end
//! somewhere in a group.
#![forbid(unsafe_code)]

use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};

use arch::{Cpu, Machine};

use super::area::{Area, Change, Kind, RW};
use super::home::{Home, Inside, any_change};
use super::memory::Memory;
use super::migration::{fork, move_folio};
use super::stage::{self, CPUS, Stage, pick};
use super::{Ran, Scenario};
use crate::Mm;
use crate::config::{Contpte, Mapcount, MmConfig, ThpMode};
use crate::rmap::{self, Exit};
use crate::space::MapProt;
use crate::testkit::Random;

/// See [`Scenario`].
pub(super) const SCENARIO: Scenario = Scenario {
    name: "folding",
    about: "two vCPUs load and store in folded groups, one moves and forks them, one changes parts of them",
    run,
};

const BASE: u64 = 0x4000_0000;
const RANGE: usize = 512;
/// Entries of a group.
const GROUP: usize = 16;
/// Groups that are used.
const GROUPS: u64 = 4;
/// Accesses of each of the two that access.
const ACCESSES: usize = 260;
/// Changes, spread over the time of the accesses.
const CHANGES: usize = 60;
/// Turns of the one that moves and forks at most; it ends with the accesses.
const TURNS: usize = 400;

fn run(seed: u64) -> Ran {
    let config = |random: &mut Random, choices: &mut MmConfig| {
        choices.thp = ThpMode::Always;
        choices.hvo = crate::config::HvoStrategy::Off;
        choices.mapcount = pick(random, Mapcount::ALL);
        choices.contpte = if random.below(8) == 0 { Contpte::Off } else { Contpte::On };
    };
    stage::run(seed, 32, config, play)
}

/// A page of one of the groups: mostly its first, its last, or one in the middle.
fn used_page(random: &mut Random) -> usize {
    let group = random.below(GROUPS) as usize * GROUP;
    group + [0, 7, 8, 15, random.below(GROUP as u64) as usize][random.below(5) as usize]
}

fn play(stage: &Stage<'_>, random: &mut Random) {
    stage.spoil(3);
    let homes = vec![Home::new(stage.mm, vec![Area::new(Kind::Anon, BASE, RANGE)])];
    let (home, made) = (&homes[0], AtomicUsize::new(0));
    let nothing = stage.know_nothing(&homes);
    let all = (CPUS - 2) * ACCESSES;
    let job = |mut memories: Vec<Vec<Memory>>, mut random: Random| {
        let Some(inside) = home.enter(stage) else { panic!("the only home is closed") };
        match Machine::id().index() {
            0 => {
                for _ in (0..TURNS).take_while(|_| made.load(Ordering::SeqCst) < all) {
                    disturb(stage.mm, &inside, &mut random);
                    Machine::relax();
                }
            }
            1 => {
                for n in 0..CHANGES {
                    wait(&made, n * all / CHANGES);
                    let (pages, change) = any_part(&mut random);
                    inside.change(stage.mm, 0, pages, change);
                }
            }
            _ => {
                for _ in 0..ACCESSES {
                    let page = used_page(&mut random);
                    inside.access(stage.mm, &mut memories[0], &mut random, 0, page);
                    made.fetch_add(1, Ordering::SeqCst);
                }
            }
        }
        stage.go(inside);
        memories
    };
    let mut memories = stage.on_all_cpus(random, nothing, job);
    stage.mm.shrink();
    stage.close(homes, &mut memories);
}

/// Waits until so many accesses are made, but not for long.
fn wait(made: &AtomicUsize, accesses: usize) {
    (0..4 * TURNS).take_while(|_| made.load(Ordering::SeqCst) < accesses).for_each(|_| Machine::relax());
}

/// A change of a part, so that a group is cut; of whole groups; or of all, so that there is a block again, which the next
/// part cuts.
fn any_part(random: &mut Random) -> (Range<usize>, Change) {
    let (first, last) = (used_page(random), used_page(random));
    let part = first.min(last)..first.max(last) + 1;
    let groups = part.start - part.start % GROUP..part.end.next_multiple_of(GROUP);
    match random.below(8) {
        0 => (0..RANGE, Change::Map(RW)),
        1 => (RANGE - 1..RANGE, Change::Protect(MapProt::READ)),
        2 => (groups, Change::Protect(RW)),
        3 => (groups, Change::Protect([MapProt::READ, MapProt::empty()][random.below(2) as usize])),
        4 => (part, any_change(random)),
        5 => (part, Change::Protect(RW)),
        _ => (first..first + 1, Change::Protect([RW, MapProt::READ][random.below(2) as usize])),
    }
}

/// One thing that is done to the folio.
fn disturb(mm: &Mm, inside: &Inside<'_>, random: &mut Random) {
    let Some(pfn) = inside.frame(0, used_page(random)) else { return };
    match random.below(8) {
        0..2 => move_folio(mm, pfn, random),
        2 => fork(mm, inside, random),
        3..6 => {
            if let Some(folio) = mm.try_get_folio(pfn) {
                rmap::folio_referenced(mm, folio.page(), Exit::Never);
                mm.put_folio(folio);
            }
        }
        _ => {}
    }
}
