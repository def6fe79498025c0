//! Everything at once: threads fault in pages of two ranges, the promoter runs, parts are unmapped, protected,
//! discarded, advised and collapsed under it, the process gives huge pages up and asks for them again, settings change,
//! hugetlb folios are optimised and restored beside it, and walkers try every frame.
#![forbid(unsafe_code)]

use std::ops::Range;

use arch::{Cpu, Machine};

use super::area::{Change, RW};
use super::contest::{self, Contest};
use super::home::{Inside, any_change};
use super::stage::{self, Stage};
use super::{Ran, Scenario};
use crate::Mm;
use crate::config::{Promote, PromotionThreshold, ThpMode};
use crate::hugetlb::HugeSize;
use crate::page::FolioRef;
use crate::space::Advice;
use crate::testkit::Random;
use crate::thp::{ThpPermission, promoter, reclaim};

/// See [`Scenario`].
pub(super) const SCENARIO: Scenario = Scenario {
    name: "promotion",
    about: "two vCPUs fault and walk, one promotes and resizes the hugetlb pool, one changes the ranges",
    run,
};

const RANGE: usize = 512;
const RANGES: usize = 2;
/// Pages of each range that are used most.
const USED: u64 = 12;
/// The highest threshold.
const MOST_THRESHOLD: u64 = 6;
fn run(seed: u64) -> Ran {
    let config = |random: &mut Random, choices: &mut crate::config::MmConfig| {
        choices.thp = if random.below(8) == 0 { ThpMode::Always } else { ThpMode::Reserve };
        if let Ok(threshold) = PromotionThreshold::new(2 + random.below(MOST_THRESHOLD - 1)) {
            choices.promotion_threshold = threshold;
        }
        choices.promote = stage::pick(random, Promote::ALL);
    };
    stage::run(seed, 24, config, contest::play::<Promotion>)
}

/// A page of a range: mostly one of few that are spread over the range, so that the threshold is reached.
fn used_page(random: &mut Random) -> usize {
    let range = random.below(RANGES as u64) as usize;
    let page = if random.below(8) == 0 { random.below(RANGE as u64) } else { random.below(USED) * 46 };
    range * RANGE + page as usize
}

/// A change. One in two concerns a whole range, most of these so that it begins anew and is reserved again.
fn any_part(random: &mut Random) -> (Range<usize>, Change) {
    let first = used_page(random);
    let range = first - first % RANGE;
    match random.below(8) {
        0 | 1 => (range..range + RANGE, Change::Map(RW)),
        2 => (range..range + RANGE, Change::Discard),
        3 => (0..RANGES * RANGE, Change::Protect(RW)),
        4 => (first..(first + 100).min(RANGES * RANGE), any_change(random)),
        _ => (first..first + 1, any_change(random)),
    }
}

/// See [`SCENARIO`].
struct Promotion;

impl Contest for Promotion {
    const PAGES: usize = RANGES * RANGE;
    const SPOILT: usize = 3 * RANGES;
    const ACCESSES: usize = 100;
    const CHANGES: usize = 14;
    const TURNS: usize = 2000;
    type Held = Walker;

    fn page(random: &mut Random) -> usize {
        used_page(random)
    }
    fn disturb(stage: &Stage<'_>, inside: &Inside<'_>, walker: &mut Walker, random: &mut Random) {
        promote(stage, inside, walker, random);
    }
    fn change(stage: &Stage<'_>, inside: &Inside<'_>, random: &mut Random) {
        if random.below(3) == 0 {
            advise(stage.mm, inside, random);
        }
        let (pages, change) = any_part(random);
        inside.change(stage.mm, 0, pages, change);
    }
    fn between(stage: &Stage<'_>, inside: &Inside<'_>, walker: &mut Walker, random: &mut Random) {
        walker.turn(stage.mm, inside, random);
    }
    fn let_go(stage: &Stage<'_>, walker: &mut Walker, _: &mut Random) {
        walker.let_go(stage.mm);
    }
    fn end(stage: &Stage<'_>) {
        promoter::drain(stage.mm);
        assert_eq!(stage.mm.hugetlb.set_nr(stage.mm, HugeSize::M2, 0).unrestored, None);
    }
}

/// Advice for both ranges, permission, or a setting: nothing that an access could see.
fn advise(mm: &Mm, inside: &Inside<'_>, random: &mut Random) {
    let space = inside.space();
    match random.below(8) {
        0..3 => inside.advise(mm, 0, Advice::Collapse),
        3 => inside.advise(mm, 0, stage::pick(random, &[Advice::NoHugePage, Advice::HugePage])),
        4 => {
            let granted = ThpPermission::Granted;
            let to =
                stage::pick(random, &[ThpPermission::Withheld, ThpPermission::Advised, granted, granted]);
            mm.set_thp_permission(&space, to);
        }
        5 => mm.thp.set_mode(stage::pick(random, ThpMode::ALL)),
        6 => {
            let threshold = 1 + random.below(MOST_THRESHOLD);
            assert_eq!(mm.thp.set_threshold(threshold), Ok(()));
        }
        _ => mm.thp.set_promote(stage::pick(random, Promote::ALL)),
    }
}

/// One turn of the promoter; at times reservations go, or a hugetlb folio comes, optimised, or goes, restored.
fn promote(stage: &Stage<'_>, inside: &Inside<'_>, walker: &mut Walker, random: &mut Random) {
    let mm = stage.mm;
    walker.turn(mm, inside, random);
    match random.below(1024) {
        0 => drop(reclaim::drop_reservations(mm)),
        1..24 => drop(mm.hugetlb.set_nr(mm, HugeSize::M2, random.below(2))),
        _ => drop(promoter::drain(mm)),
    }
    Machine::relax();
}

/// Somebody who walks physical memory: at times he holds a reference to a page of a range, or of whatever frame there
/// is, for a few turns.
#[derive(Default)]
struct Walker(Option<FolioRef>);

impl Walker {
    fn turn(&mut self, mm: &Mm, inside: &Inside<'_>, random: &mut Random) {
        if random.below(8) == 0 {
            self.let_go(mm);
        } else if self.0.is_none() && random.below(16) == 0 {
            self.0 = inside.frame(0, used_page(random)).and_then(|pfn| mm.try_get_folio(pfn));
        } else if self.0.is_none() {
            let bank = mm.ram()[0];
            self.0 = mm.try_get_folio(bank.start.add(random.below(bank.len())));
        }
    }
    fn let_go(&mut self, mm: &Mm) {
        if let Some(head) = self.0.take() {
            mm.put_folio(head);
        }
    }
}
