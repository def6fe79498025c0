//! Who is told of which fault, and what he finds who was served.

use arch::Access;
use arch::model::{Job, run_on_cpus, user_load, user_store};
use mm::hugetlb::hgm::ContinueError;
use mm::space::{Advice, MapProt};
use mm::userfault::{Minor, Wake};

use super::stage::*;

/// A touch of a page that the object has is told, with the page, the address and the access, and is made when the page
/// is continued: it finds what was delivered before.
#[test]
fn a_minor_fault_waits_for_its_content() {
    while_one_waits(
        |_| assert_eq!(user_load(at(0)), Ok(WORD)),
        |stage| {
            let told = stage.next();
            assert_eq!(told, Minor { page: at(0), exact: at(0), access: Access::Read });
            assert_eq!(stage.context.next_fault(pages(0..PAGES)), None, "a fault is told once");
            assert_eq!(stage.context.waiting(), 1);
            stage.serve(0);
        },
    );
    while_one_waits(
        |_| assert!(user_store(at(1).add(8200), 5).is_ok()),
        |stage| {
            let told = stage.next();
            assert_eq!(told, Minor { page: at(1), exact: at(1).add(8200), access: Access::Write });
            stage.serve(1);
        },
    );
}

/// What the object has no page for, and what is mapped already, is nobody else's business.
#[test]
fn other_faults_are_resolved_as_ever() {
    staged(|stage| {
        stage.as_user(|| assert_eq!(user_load(at(2)), Ok(0)));
        let mm = stage.mm;
        assert_eq!(mm.continue_userfault(&stage.context, pages(0..1), Wake::Now), (BYTES, Ok(())));
        mm.mprotect(&stage.space, BASE, BYTES, MapProt::READ).unwrap();
        mm.mprotect(&stage.space, BASE, BYTES, RW).unwrap();
        stage.as_user(|| assert_eq!(user_store(at(0), 1), Ok(())));
        assert_eq!(stage.context.waiting(), 0);
        assert_eq!(stage.registered(), [true; 4], "mprotect keeps it");
    });
}

/// What MADV_DONTNEED has unmapped, the object has: its next touch is a minor fault again.
#[test]
fn an_unmapped_page_is_a_minor_fault_again() {
    while_one_waits(
        |_| assert_eq!(user_load(at(1)), Ok(WORD)),
        |stage| {
            stage.next();
            stage.serve(1);
        },
    );
    while_one_waits(
        |stage| {
            stage.mm.continue_userfault(&stage.context, pages(0..1), Wake::Now).1.unwrap();
            assert_eq!(user_load(at(0)), Ok(0));
            stage.mm.madvise(&stage.space, BASE, BYTES, Advice::DontNeed).unwrap();
            assert_eq!(user_load(at(0)), Ok(WORD));
        },
        |stage| {
            stage.next();
            stage.serve(0);
        },
    );
}

/// Two who wait for the same page are told of one by one, and go on together.
#[test]
fn one_continue_wakes_all_of_a_page() {
    for seed in 0..20 {
        seeded(seed).boot(|mm, env| {
            let stage = Stage::new(mm, env);
            let stage_ref = &stage;
            let touch = |offset: u64| -> Job<'_> {
                Box::new(move || {
                    stage_ref.as_user(|| assert_eq!(user_load(at(0).add(offset)), Ok(0)));
                })
            };
            let serve: Job<'_> = Box::new(move || {
                let mut exact = [stage_ref.next().exact, stage_ref.next().exact];
                exact.sort();
                assert_eq!(exact, [at(0).add(8), at(0).add(5000 & !7)]);
                assert_eq!(stage_ref.context.waiting(), 2);
                stage_ref.serve(0);
            });
            run_on_cpus(vec![serve, touch(8), touch(5000 & !7)]);
            assert_eq!(stage.context.waiting(), 0);
            stage.end();
        });
    }
}

/// A wake-up without a page lets the access be tried again: the fault is told once more. A page that was continued
/// without a wake-up is found by who is woken later.
#[test]
fn waking_and_continuing_are_two_things() {
    while_one_waits(
        |_| assert_eq!(user_load(at(0)), Ok(WORD)),
        |stage| {
            let mm = stage.mm;
            stage.next();
            mm.wake_userfault(&stage.context, pages(1..2));
            assert_eq!(stage.context.waiting(), 1, "another page");
            mm.wake_userfault(&stage.context, pages(0..1));
            stage.next();
            stage.serve(0);
        },
    );
    while_one_waits(
        |_| assert_eq!(user_load(at(0)), Ok(0)),
        |stage| {
            stage.next();
            let done = stage.mm.continue_userfault(&stage.context, pages(0..1), Wake::Later);
            assert_eq!((done, stage.context.waiting()), ((BYTES, Ok(())), 1));
            stage.mm.wake_userfault(&stage.context, pages(0..1));
        },
    );
}

/// Who could not pass a fault on gives it back: it is told again. Another range's faults are left alone.
#[test]
fn a_fault_can_be_given_back() {
    while_one_waits(
        |_| assert_eq!(user_load(at(1)), Ok(WORD)),
        |stage| {
            let told = stage.next();
            stage.context.untell(stage.mm, &told);
            assert_eq!(stage.context.next_fault(pages(0..1)), None);
            assert_eq!(stage.next(), told);
            stage.serve(1);
        },
    );
}

/// Two touch all pages in different orders while a server brings and continues what they ask for: all find the content.
#[test]
fn touches_of_all_pages_are_served() {
    for seed in 0..10 {
        seeded(seed).boot(|mm, env| {
            let stage = Stage::new(mm, env);
            mm.bring_huge_pages(&stage.object, 2..PAGES).unwrap();
            let stage_ref = &stage;
            let touch = |order: [u64; 4]| -> Job<'_> {
                Box::new(move || {
                    stage_ref.as_user(|| {
                        order.iter().for_each(|&page| assert_eq!(user_load(at(page)), Ok(WORD), "{page}"));
                    });
                })
            };
            let serve: Job<'_> = Box::new(move || {
                let mut left = PAGES;
                while left != 0 {
                    let page = stage_ref.next().page.offset_from(at(0)) / BYTES;
                    mm.deliver(&stage_ref.object, page * BYTES, &WORD.to_le_bytes()).unwrap();
                    match mm.continue_userfault(&stage_ref.context, pages(page..page + 1), Wake::Now) {
                        (BYTES, Ok(())) => left -= 1,
                        // Both have asked for it, the second one after it was mapped or before.
                        (0, Err(ContinueError::Mapped(_))) => {
                            mm.wake_userfault(&stage_ref.context, pages(page..page + 1));
                        }
                        other => panic!("{other:?}"),
                    }
                }
            });
            run_on_cpus(vec![serve, touch([0, 1, 2, 3]), touch([3, 1, 0, 2])]);
            assert_eq!(stage.context.waiting(), 0);
            stage.end();
        });
    }
}
