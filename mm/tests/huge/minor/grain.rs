//! Content that arrives 4 KiB at a time, where MADV_SPLIT permits smaller entries than a page's.

use arch::Access;
use arch::addr::PAGE_SIZE;
use arch::model::{Job, run_on_cpus, user_load, user_store};
use mm::config::Hgm;
use mm::hugetlb::hgm::ContinueError;
use mm::space::Advice;
use mm::userfault::{Minor, Wake};

use super::stage::*;

/// The whole range may be mapped by smaller entries.
fn split(stage: &Stage<'_>) {
    stage.mm.madvise(&stage.space, BASE, PAGES * BYTES, Advice::Split).unwrap();
}

/// Brings the word to the beginning of 4 KiB of the first page, and continues them.
fn serve_piece(stage: &Stage<'_>, piece: u64) -> (u64, Result<(), ContinueError>) {
    stage.mm.deliver(&stage.object, piece * PAGE_SIZE, &WORD.to_le_bytes()).unwrap();
    let start = at(0).add(piece * PAGE_SIZE);
    stage.mm.continue_userfault(&stage.context, start..start.add(PAGE_SIZE), Wake::Now)
}

/// A fault is told at its 4 KiB, and goes on when these are there; the next piece of the same page is told of again.
/// Without the permission the page is all or nothing.
#[test]
fn four_kib_arrive_alone() {
    while_one_waits(
        |_| {
            assert_eq!(user_load(at(0).add(5 * PAGE_SIZE)), Ok(WORD));
            assert_eq!(user_load(at(0).add(6 * PAGE_SIZE)), Ok(WORD));
            assert_eq!(user_store(at(0).add(6 * PAGE_SIZE + 8), 1), Ok(()));
        },
        |stage| {
            // He may have been told of the page before the permission.
            split(stage);
            stage.mm.wake_userfault(&stage.context, pages(0..PAGES));
            let mut left = [5, 6].as_slice();
            while let [piece, rest @ ..] = left {
                let told = stage.next();
                if told.page == at(0) {
                    continue;
                }
                let page = at(0).add(piece * PAGE_SIZE);
                assert_eq!(told, Minor { page, exact: page, access: Access::Read });
                assert_eq!(serve_piece(stage, *piece), (PAGE_SIZE, Ok(())));
                left = rest;
            }
        },
    );
}

/// What has arrived is not mapped twice, and parts of a page that have not arrived are not seen.
#[test]
fn the_rest_of_a_page_is_not_seen() {
    staged(|stage| {
        split(stage);
        assert_eq!(serve_piece(stage, 3), (PAGE_SIZE, Ok(())));
        let piece = at(0).add(3 * PAGE_SIZE);
        assert_eq!(serve_piece(stage, 3), (0, Err(ContinueError::Mapped(piece))));
        stage.as_user(|| assert_eq!(user_load(piece), Ok(WORD)));
        assert_eq!(stage.space.ptl.lock().last(at(0).add(2 * PAGE_SIZE)).desc.raw(), 0);
        let whole = stage.mm.continue_userfault(&stage.context, pages(0..1), Wake::Now);
        assert_eq!(whole, (3 * PAGE_SIZE, Err(ContinueError::Mapped(piece))));
        stage.mm.check_all().unwrap();
    });
}

/// MADV_COLLAPSE maps what was not continued too, and whoever waits for it goes on.
#[test]
fn a_collapse_ends_the_waiting() {
    while_one_waits(
        |_| assert_eq!(user_load(at(0).add(9 * PAGE_SIZE)), Ok(0)),
        |stage| {
            split(stage);
            stage.next();
            stage.mm.madvise(&stage.space, BASE, BYTES, Advice::Collapse).unwrap();
        },
    );
}

/// In the simpler way, in which the permission means entries of 4 KiB, the same holds.
#[test]
fn pages_arrive_where_there_are_no_other_sizes() {
    let machine = machine().config(|config| config.hgm = Hgm::Pages);
    machine.boot(|mm, env| {
        let stage = Stage::new(mm, env);
        split(&stage);
        let stage_ref = &stage;
        let wait: Job<'_> = Box::new(move || {
            stage_ref.as_user(|| assert_eq!(user_load(at(0).add(7 * PAGE_SIZE)), Ok(WORD)));
        });
        let serve: Job<'_> = Box::new(move || {
            assert_eq!(stage_ref.next().page, at(0).add(7 * PAGE_SIZE));
            assert_eq!(serve_piece(stage_ref, 7), (PAGE_SIZE, Ok(())));
        });
        run_on_cpus(vec![serve, wait]);
        stage.end();
    });
}

/// Two who touch the pieces of a page in different orders, and a server that brings what is asked for: all find the
/// content, however the table comes to be.
#[test]
fn pieces_of_a_page_are_served() {
    const PIECES: u64 = BYTES / PAGE_SIZE;
    for seed in 0..10 {
        seeded(seed).boot(|mm, env| {
            let stage = Stage::new(mm, env);
            split(&stage);
            let stage_ref = &stage;
            let touch = |step: u64| -> Job<'_> {
                Box::new(move || {
                    stage_ref.as_user(|| {
                        for n in 0..PIECES {
                            let piece = n * step % PIECES;
                            assert_eq!(user_load(at(0).add(piece * PAGE_SIZE)), Ok(WORD), "{piece}");
                        }
                    });
                })
            };
            let serve: Job<'_> = Box::new(move || {
                let mut left = PIECES;
                while left != 0 {
                    let page = stage_ref.next().page;
                    match serve_piece(stage_ref, page.offset_from(at(0)) / PAGE_SIZE) {
                        (PAGE_SIZE, Ok(())) => left -= 1,
                        (0, Err(ContinueError::Mapped(_))) => {
                            mm.wake_userfault(&stage_ref.context, page..page.add(PAGE_SIZE));
                        }
                        other => panic!("{other:?}"),
                    }
                }
            });
            run_on_cpus(vec![serve, touch(1), touch(7)]);
            assert_eq!(stage.context.waiting(), 0);
            stage.end();
        });
    }
}
