//! One random workload for all schemes: after each thing that is done, each answer is held against a full scan of the
//! tables and against what the scheme claims.

use super::{machine, with_gigabyte};
use arch::{Level, Order, VirtAddr};

use crate::config::Mapcount;
use crate::mapcount::Question;
use crate::mapcount::lab::{Clear, Dice, Lab, LabFolio, Scores};
use crate::page::PageKind;
use crate::testkit::Random;

/// Things that are done to each scheme.
const STEPS: u64 = 400;
/// Things that are done to each scheme with a folio of 1 GiB, of which each may touch 262,144 struct pages.
const GIGABYTE_STEPS: u64 = 20;

fn run(scheme: Mapcount, seed: u64) -> Scores {
    machine().boot(|mm, _| {
        let before = mm.free_page_count();
        let mut lab = Lab::furnished(mm, scheme).unwrap();
        let (mut dice, mut scores) = (Dice::new(seed), Scores::default());
        for n in 0..STEPS {
            lab.step(&mut dice).unwrap();
            // What is asked of a state must not change what is done next.
            let mut other = dice.clone();
            if let Err(wrong) = lab.judge(&mut other, &mut scores) {
                panic!("mapcount={scheme}, step {n} of MM_SEED={seed}: {wrong}");
            }
        }
        lab.end();
        assert_eq!(mm.free_page_count(), before, "{scheme}: pages are missing");
        scores
    })
}

/// Every scheme, the same workload: exact answers are the truth, bounds bound it.
#[test]
fn every_scheme_keeps_its_contract() {
    let seed = Random::for_test("every_scheme_keeps_its_contract", 1).below(1 << 40);
    for &scheme in Mapcount::ALL {
        for seed in [seed, seed + 1] {
            let scores = run(scheme, seed);
            for question in Question::ALL {
                println!("{scheme:<16} {:<13} {:?}", question.name(), scores.0[question as usize]);
            }
        }
    }
}

/// What may be done to a folio of 1 GiB: entries of all three sizes, mixed, split, put together again, in several
/// spaces.
fn step_gigabyte(lab: &mut Lab<'_>, dice: &mut Dice, f: usize) {
    const HUGE: u64 = 2 << 20;
    let spaces: Vec<usize> = (0..lab.spaces.len()).filter(|&n| lab.spaces[n].is_some()).collect();
    let s = spaces[dice.below(spaces.len() as u64) as usize];
    let start = lab.range().0;
    // Few of its 512 parts, so that they meet.
    let part = dice.below(3);
    let va = start.add(part * HUGE);
    let page = dice.below(512);
    match dice.below(10) {
        0 => {
            lab.map_block(s, start, f, 0, Level::L1).unwrap();
        }
        1 | 2 => {
            lab.map_block(s, va, f, part * 512, Level::L2).unwrap();
        }
        3 | 4 => {
            lab.map(s, va.add(page * 4096), f, part * 512 + page, 512 - page).unwrap();
        }
        5 => {
            lab.split(s, va).unwrap();
        }
        6 => {
            lab.join(s, va, if dice.one_in(2) { Level::L1 } else { Level::L2 });
        }
        7 => lab.clear(s, va, va.add((1 + page) * 4096), Clear::Remove),
        8 => {
            lab.fork(s).unwrap();
        }
        _ => match spaces.len() {
            1 => lab.clear(s, start, lab.range().1, Clear::Remove),
            _ => lab.exit(s),
        },
    }
    (0..3).for_each(|n| lab.prune(s, start.add(n * HUGE)));
}

/// A folio of 1 GiB, of an object, mapped by entries of all sizes.
#[test]
fn a_gigabyte_keeps_the_contracts() {
    const GIB: u64 = 1 << 30;
    let seed = Random::for_test("a_gigabyte_keeps_the_contracts", 1).below(1 << 40);
    with_gigabyte(|mm| {
        for &scheme in Mapcount::ALL {
            let mut lab = Lab::new(mm, scheme, (VirtAddr::new(GIB), VirtAddr::new(2 * GIB)));
            let block = mm.alloc_contig(Order::PUD, PageKind::Kernel).unwrap();
            let folio = LabFolio::of(mm, block, PageKind::Kernel).unwrap();
            let f = lab.put_folio(folio).unwrap();
            lab.bear().unwrap();
            let (mut dice, mut scores) = (Dice::new(seed), Scores::default());
            for n in 0..GIGABYTE_STEPS {
                step_gigabyte(&mut lab, &mut dice, f);
                let mut other = dice.clone();
                if let Err(wrong) = lab.judge(&mut other, &mut scores) {
                    panic!("mapcount={scheme}, step {n} of MM_SEED={seed}: {wrong}");
                }
            }
            lab.end();
        }
    });
}
