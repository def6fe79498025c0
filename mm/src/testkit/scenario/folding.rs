//! Blocks that were split into folded groups, and change in parts: two vCPUs load and store at the edges of groups, one
//! clears access flags, forks, and moves the folio, one protects, unmaps, discards, and joins runs that begin or end
//! somewhere in a group.
#![forbid(unsafe_code)]

use std::ops::Range;

use arch::{Cpu, Machine};

use super::area::{Change, RW};
use super::contest::{self, Contest};
use super::home::{Inside, any_change};
use super::migration::{fork, move_folio};
use super::stage::{self, Stage, pick};
use super::{Ran, Scenario};
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

const RANGE: usize = 512;
/// Entries of a group.
const GROUP: usize = 16;
/// Groups that are used.
const GROUPS: u64 = 4;
fn run(seed: u64) -> Ran {
    let config = |random: &mut Random, choices: &mut MmConfig| {
        choices.thp = ThpMode::Always;
        choices.hvo = crate::config::HvoStrategy::Off;
        choices.mapcount = pick(random, Mapcount::ALL);
        choices.contpte = if random.below(8) == 0 { Contpte::Off } else { Contpte::On };
    };
    stage::run(seed, 32, config, contest::play::<Folding>)
}

/// A page of one of the groups: mostly its first, its last, or one in the middle.
fn used_page(random: &mut Random) -> usize {
    let group = random.below(GROUPS) as usize * GROUP;
    group + [0, 7, 8, 15, random.below(GROUP as u64) as usize][random.below(5) as usize]
}

/// A change of a part, so that a group is cut; of whole groups; or of all, so that there is a block again, which the
/// next part cuts.
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

/// See [`SCENARIO`].
struct Folding;

impl Contest for Folding {
    const PAGES: usize = RANGE;
    const SPOILT: usize = 3;
    const ACCESSES: usize = 260;
    const CHANGES: usize = 60;
    const TURNS: usize = 400;
    type Held = ();

    fn page(random: &mut Random) -> usize {
        used_page(random)
    }
    /// One thing that is done to the folio.
    fn disturb(stage: &Stage<'_>, inside: &Inside<'_>, (): &mut (), random: &mut Random) {
        let mm = stage.mm;
        let Some(pfn) = inside.frame(0, used_page(random)) else { return Machine::relax() };
        match random.below(8) {
            0..2 => move_folio(mm, pfn, random),
            2 => fork(mm, inside, used_page(random), random),
            3..6 => {
                if let Some(folio) = mm.try_get_folio(pfn) {
                    rmap::folio_referenced(mm, folio.page(), Exit::Never);
                    mm.put_folio(folio);
                }
            }
            _ => {}
        }
        Machine::relax();
    }
    fn change(stage: &Stage<'_>, inside: &Inside<'_>, random: &mut Random) {
        let (pages, change) = any_part(random);
        inside.change(stage.mm, 0, pages, change);
    }
    fn end(stage: &Stage<'_>) {
        stage.mm.reclaim(u64::MAX);
    }
}
