//! Readers that hold no lock, against fork, unmap and split on other CPUs: what each scheme may say meanwhile.
//!
//! ```text
//!   space 0   512 page entries, all the time
//!   space 1   512 page entries that come and go                        fork, exit
//!   space 2   a block that becomes 512 page entries and a block again  split, collapse
//! ```
//! At every moment the folio is mapped as a whole, by two or three spaces, each page of it by two or three entries. So
//! whatever moment an answer is of, and if its parts are of several:
//!
//! | question | what may be said |
//! |---|---|
//! | is it mapped | yes |
//! | leaf entries | no less than the two spaces have that stay; `Exact` no more than all three, an entry of space 2 counted twice |
//! | entries of a page | no less than two; `Exact` no more than four: between the two steps of a split or a collapse both are counted |
//! | pages that are mapped | all |
//! | shared | never `Exclusive` |
//! | average | 1 at least |

use std::sync::atomic::{AtomicBool, Ordering};

use arch::model::Job;
use arch::{Cpu, Level, Machine, Order, PhysAddr, VirtAddr};

use crate::Mm;
use crate::config::{HugePages, HvoStrategy, Mapcount};
use crate::mapcount::lab::{Lab, LabFolio};
use crate::mapcount::{Answer, Run, Sharing};
use crate::page::{PageKind, PageRef};
use crate::testkit::{Builder, HostEnv, run_on_cpus};

const START: VirtAddr = VirtAddr::new(1 << 30);
const PAGES: u64 = Order::PMD.pages();
/// Changes of each writer, and the seeds under which they run. A run of `thp-like` takes some thousand steps.
const CHANGES: usize = 6;
const SEEDS: u64 = 4;

/// The entries that change, and the one folio.
struct Scene {
    head: PageRef,
    theirs: Run,
    block: Run,
    table: PhysAddr,
}

fn with_scene(scheme: Mapcount, seed: u64, f: impl FnOnce(&'static HostEnv, &Scene)) {
    let machine = Builder::new().ram_mib(32).cpus(4).machine(|desc| {
        desc.seed = seed;
        desc.max_steps = 2_000_000_000;
    });
    let machine =
        machine.config(|config| (config.hvo, config.hugepages) = (HvoStrategy::Off, HugePages::NONE));
    machine.boot(|mm, env| {
        let mut lab = Lab::new(mm, scheme, (START, START.add(Level::L1.entry_bytes())));
        let table = mm.alloc_table().unwrap();
        f(env, &furnish(mm, &mut lab, table.address()));
        mm.free_table(table);
        lab.end();
    });
}

fn furnish(mm: &Mm, lab: &mut Lab<'_>, table: PhysAddr) -> Scene {
    let folio = lab.put_folio(LabFolio::alloc(mm, Order::PMD, PageKind::Anon).unwrap()).unwrap();
    let spaces: Vec<_> = (0..3).map(|_| lab.bear().unwrap().unwrap()).collect();
    assert_eq!(lab.map(spaces[0], START, folio, 0, PAGES), Ok(PAGES));
    assert_eq!(lab.map(spaces[1], START, folio, 0, PAGES), Ok(PAGES));
    lab.map_block(spaces[2], START, folio, 0, Level::L2).unwrap().unwrap();
    let run = |s| lab.run_at(s, START, START.add(Order::PMD.bytes())).unwrap();
    Scene { head: run(spaces[0]).head, theirs: run(spaces[1]), block: run(spaces[2]), table }
}

/// Asks everything once.
fn ask(scheme: Mapcount, head: PageRef, page: PageRef) {
    let within = |what: &str, answer: Answer<u32>, least: u32, most: u32| match answer {
        Answer::Exact(n) => {
            assert!((least..=most).contains(&n), "{scheme}: {what} = {n}, of {least} to {most}")
        }
        Answer::AtMost(n) => assert!(n >= least, "{scheme}: {what} <= {n}, at least {least}"),
        Answer::Unknown => {}
    };
    let pages = PAGES as u32;
    assert!(scheme.is_mapped(head), "{scheme}: not mapped");
    within("entries", scheme.entries(head), pages + 1, 3 * pages + 1);
    within("entries of a page", scheme.page_entries(head, page), 2, 4);
    within("pages", scheme.pages_mapped(head), pages, pages);
    for answer in [scheme.sharing(head), scheme.page_sharing(head, page)] {
        assert_ne!(answer, Answer::Exact(Sharing::Exclusive), "{scheme}: two spaces map it all the time");
    }
    assert!(scheme.average(head) >= 1, "{scheme}: an average of 0");
}

fn race(scheme: Mapcount, seed: u64) {
    with_scene(scheme, seed, |env, scene| {
        let (done, head) = (&[AtomicBool::new(false), AtomicBool::new(false)], scene.head);
        let family = move || {
            for _ in 0..CHANGES {
                scheme.remove(&scene.theirs);
                scheme.add(&scene.theirs);
            }
            done[0].store(true, Ordering::Release);
        };
        let splitter = move || {
            for _ in 0..CHANGES {
                scheme.split(&scene.block, scene.table);
                scheme.join(&scene.block.pieces(scene.table), &scene.block);
            }
            done[1].store(true, Ordering::Release);
        };
        let reader = |page: PageRef| {
            move || {
                while !done.iter().all(|done| done.load(Ordering::Acquire)) {
                    ask(scheme, head, page);
                    Machine::relax();
                }
            }
        };
        let jobs: Vec<Job<'_>> = vec![
            Box::new(family),
            Box::new(splitter),
            Box::new(reader(head)),
            Box::new(reader(head.nth(PAGES - 1))),
        ];
        run_on_cpus(env, jobs);
        // At rest again.
        assert!(scheme.entries(head).value().is_none_or(|n| n > PAGES as u32));
        ask(scheme, head, head.nth(7));
    });
}

/// Every scheme, whatever comes between what.
#[test]
fn readers_hold_no_lock() {
    for &scheme in Mapcount::ALL {
        for seed in 0..SEEDS {
            println!("mapcount={scheme}, seed {seed}");
            race(scheme, seed);
        }
    }
}
