//! One random workload for all schemes: after each thing that is done, each answer is held against a full scan of the
//! tables and against what the scheme claims.

use crate::config::{HvoStrategy, Mapcount};
use crate::mapcount::Question;
use crate::mapcount::lab::{Dice, Lab, Scores};
use crate::testkit::{Builder, Random};

/// Things that are done to each scheme.
const STEPS: u64 = 400;

fn machine() -> Builder {
    // Tails must be writable for thp-like; the schemes are tried on folios of the test's own.
    Builder::new().ram_mib(32).cpus(1).config(|config| {
        config.hvo = HvoStrategy::Off;
        config.hugepages = 0;
    })
}

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
