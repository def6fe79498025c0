//! A reader without a lock, while the tables on its way become somebody's memory.

use std::sync::atomic::{AtomicBool, Ordering};

use arch::model::{Bounds, explore_runs, seeds};
use arch::{Order, VirtAddr};
use mm::config::ThpMode;
use mm::page::PageKind;
use mm::report::Reading;
use mm::testkit::{Builder, run_on_cpus};

use crate::kit::{BASE, HUGE, PAGE, machine, populated, sane};

/// What a table must not be read as: a leaf of a frame that has no struct page.
const JUNK: u64 = 0x0000_7fff_ffff_f703;
/// Where the junk goes.
const OTHER: u64 = BASE + (1 << 40);
const ROUNDS: usize = 12;

fn two_cpus(seed: u64) -> Builder {
    machine(ThpMode::Never).ram_mib(16).cpus(2).machine(|desc| desc.seed = seed)
}

/// Tables are freed, given out again as a user's pages and filled with what would be leaves, at every moment of a
/// look; the look is told of the pages that were mapped, and of nothing else.
#[test]
fn tables_that_become_memory_are_not_read() {
    for seed in seeds(40) {
        two_cpus(seed).boot(|mm, env| {
            let (space, done) = (mm.new_space().unwrap(), AtomicBool::new(false));
            let junk: Vec<u8> = JUNK.to_le_bytes().into_iter().cycle().take(4 * PAGE as usize).collect();
            let change = || {
                for _ in 0..ROUNDS {
                    populated(mm, &space, BASE, PAGE);
                    mm.munmap(&space, BASE, PAGE).unwrap();
                    populated(mm, &space, OTHER, 4 * PAGE);
                    mm.write_user(&space, VirtAddr::new(OTHER), &junk).unwrap();
                    mm.munmap(&space, OTHER, 4 * PAGE).unwrap();
                }
                done.store(true, Ordering::Relaxed);
            };
            let look = || {
                while !done.load(Ordering::Relaxed) {
                    let sizes = mm.glance(&space);
                    sane(&sizes);
                    assert!(sizes.rss() <= 5 * PAGE, "seed {seed}: {sizes:?}");
                }
            };
            run_on_cpus(env, vec![Box::new(change), Box::new(look)]);
            mm.destroy_space(&space);
        });
    }
}

/// A table is freed and becomes the table of another space at every moment of a look, which is told of no page of that
/// space.
#[test]
fn tables_of_another_space_are_not_read() {
    let explored = explore_runs(Bounds { switches: 1, runs: 10_000 }, || {
        two_cpus(0).boot(|mm, env| {
            let (space, other) = (mm.new_space().unwrap(), mm.new_space().unwrap());
            // Both keep the tables above.
            [&space, &other].iter().for_each(|space| populated(mm, space, BASE + HUGE, PAGE));
            let spare = mm.alloc_pages(Order::PAGE, PageKind::Kernel).unwrap();
            populated(mm, &space, BASE, PAGE);
            let change = || {
                mm.munmap(&space, BASE, PAGE).unwrap();
                // The next page that is given out, so that the table that was freed becomes a table again.
                mm.free_pages(spare, Order::PAGE);
                populated(mm, &other, BASE, 2 * PAGE);
            };
            let look = || {
                let end = VirtAddr::new(BASE + 2 * PAGE);
                let sizes = mm.sizes(&space, VirtAddr::new(BASE), end, Reading::LockFree);
                sane(&sizes);
                assert!(sizes.rss() <= PAGE, "{sizes:?}");
            };
            run_on_cpus(env, vec![Box::new(look), Box::new(change)]);
            [space, other].iter().for_each(|space| mm.destroy_space(space));
        });
    });
    assert!(explored.complete && explored.runs > 20, "{explored:?}");
}

/// A space ends at every moment of a look, and its root becomes junk.
#[test]
fn a_root_that_becomes_memory_is_not_read() {
    for seed in seeds(40) {
        two_cpus(seed).boot(|mm, env| {
            let keeper = mm.new_space().unwrap();
            let spaces: Vec<_> = (0..ROUNDS).map(|_| mm.new_space().unwrap()).collect();
            let junk: Vec<u8> = JUNK.to_le_bytes().into_iter().cycle().take(4 * PAGE as usize).collect();
            let change = || {
                for space in &spaces {
                    populated(mm, space, BASE, PAGE);
                    mm.destroy_space(space);
                    populated(mm, &keeper, OTHER, 4 * PAGE);
                    mm.write_user(&keeper, VirtAddr::new(OTHER), &junk).unwrap();
                    mm.munmap(&keeper, OTHER, 4 * PAGE).unwrap();
                }
            };
            let look = || {
                for space in &spaces {
                    while space.has_tables() {
                        let sizes = mm.glance(space);
                        sane(&sizes);
                        assert!(sizes.rss() <= PAGE, "seed {seed}: {sizes:?}");
                    }
                }
            };
            run_on_cpus(env, vec![Box::new(change), Box::new(look)]);
            mm.destroy_space(&keeper);
        });
    }
}
