//! What is not served, and what cannot be asked for.

use std::ops::Range;

use arch::VirtAddr;
use arch::addr::PAGE_SIZE;
use arch::model::{Job, run_on_cpus, user_load};
use mm::Mm;
use mm::fault::{FaultReason, Signal};
use mm::hugetlb::hgm::ContinueError;
use mm::kalloc::KArc;
use mm::shmem::{DeliverError, ObjectUse};
use mm::space::{AddressSpace, Advice, Errno, MapFlags, MmapRequest, MremapRequest, RemapFlags};
use mm::testkit::{Builder, fail_every_allocation};
use mm::userfault::{Serves, Userfault, UserfaultError, Wake};

use super::stage::*;

/// With UFFD_USER_MODE_ONLY an access of the kernel fails where it would have to wait, and one of the program waits.
#[test]
fn the_kernel_need_not_be_served() {
    machine().boot(|mm, env| {
        let stage = Stage::serving(mm, env, Serves::UserOnly);
        let refused = mm.write_user(&stage.space, at(0), &[1]).unwrap_err();
        assert_eq!((refused.reason, refused.signal()), (FaultReason::UserModeOnly, Signal::Bus));
        let populate = mm.madvise(&stage.space, BASE, BYTES, Advice::PopulateRead).unwrap_err();
        assert_eq!(populate.errno(), Errno::Fault);
        assert_eq!(stage.context.waiting(), 0);
        mm.write_user(&stage.space, at(2), &[1]).unwrap();
        let stage_ref = &stage;
        let serve: Job<'_> = Box::new(move || {
            stage_ref.next();
            stage_ref.serve(0);
        });
        let wait: Job<'_> = Box::new(move || stage_ref.as_user(|| assert_eq!(user_load(at(0)), Ok(WORD))));
        run_on_cpus(vec![serve, wait]);
        mm.write_user(&stage.space, at(0), &[1]).unwrap();
        stage.end();
    });
}

/// A child of fork has no part registered, and its faults are resolved; its parent's go on to be served.
#[test]
fn a_child_is_not_served() {
    staged(|stage| {
        let mm = stage.mm;
        let child = mm.fork_space(&stage.space).unwrap();
        assert!(child.userfaults.is_empty());
        assert_eq!(child.vma_at(at(0)).unwrap().userfault, None);
        let mut byte = [1];
        mm.read_user(&child, at(0), &mut byte).unwrap();
        assert_eq!((byte, stage.registered()), ([0], [true; 4]));
        mm.destroy_space(&child);
    });
}

/// mremap with MREMAP_DONTUNMAP leaves the old place registered, and the new one is not.
#[test]
fn a_second_place_is_not_registered() {
    staged(|stage| {
        let flags = RemapFlags::MAYMOVE | RemapFlags::FIXED | RemapFlags::DONTUNMAP;
        let all = PAGES * BYTES;
        let request = MremapRequest { addr: BASE, old_len: all, new_len: all, flags, new_addr: ELSEWHERE };
        let moved = stage.mm.mremap(&stage.space, &request).unwrap();
        assert_eq!(stage.space.vma_at(moved).unwrap().userfault, None);
        assert_eq!(stage.registered(), [true; 4]);
    });
}

/// What cannot be registered is refused, by Linux's numbers, and nothing is registered then.
#[test]
fn what_cannot_be_registered() {
    staged(|stage| {
        let (mm, space, context) = (stage.mm, &stage.space, &stage.context);
        mm.unregister_userfault(context, pages(0..PAGES)).unwrap();
        let page = PAGE_SIZE;
        let bad_ranges =
            [(BASE + 1, page), (BASE, 0), (BASE, 5), (0, page), (u64::MAX - 4095, page), (BASE, 1 << 63)];
        for (start, bytes) in bad_ranges {
            let refused = Userfault::range(start, bytes).unwrap_err();
            assert_eq!(
                (refused, refused.errno()),
                (UserfaultError::Range(VirtAddr::new(start)), Errno::Inval)
            );
        }
        let errno = |start: u64, bytes: u64| {
            let range = Userfault::range(start, bytes).unwrap();
            mm.register_userfault(context, range).map_err(UserfaultError::errno)
        };
        assert_eq!(errno(ELSEWHERE, BYTES), Err(Errno::Inval), "nothing there");
        assert_eq!(errno(BASE + page, BYTES), Err(Errno::Inval), "a start inside a page");
        assert_eq!(errno(BASE, BYTES + page), Err(Errno::Inval), "an end inside a page");
        let fixed = |flags| MmapRequest::anonymous(BYTES, RW).fixed(BASE + PAGES * BYTES).with(flags);
        let huge = MapFlags::HUGETLB | MapFlags::from_bits_retain(BYTES.ilog2() << 26);
        for flags in [MapFlags::empty(), huge] {
            mm.mmap(space, &fixed(flags)).unwrap();
            assert_eq!(errno(BASE + PAGES * BYTES, BYTES), Err(Errno::Inval), "private memory");
            assert_eq!(errno(BASE, (PAGES + 1) * BYTES), Err(Errno::Inval), "some of it private");
        }
        let shared_small = MmapRequest {
            flags: MapFlags::SHARED | MapFlags::ANONYMOUS | MapFlags::FIXED,
            ..fixed(MapFlags::empty())
        };
        mm.mmap(space, &shared_small).unwrap();
        assert_eq!(errno(BASE + PAGES * BYTES, BYTES), Err(Errno::Inval), "shared memory of small pages");
        mm.munmap(space, BASE + PAGES * BYTES, BYTES).unwrap();
        assert_eq!(stage.registered(), [false; 4]);
        mm.check_all().unwrap();
        let other = mm.new_userfault(space, Serves::All).unwrap();
        mm.register_userfault(&other, pages(2..3)).unwrap();
        assert_eq!(errno(BASE, PAGES * BYTES), Err(Errno::Busy));
        assert_eq!(errno(BASE + 2 * BYTES, BYTES), Err(Errno::Busy));
        assert_eq!(errno(BASE, 2 * BYTES), Ok(()));
        assert_eq!(errno(BASE, 2 * BYTES), Ok(()), "once more");
        let not_own = mm.unregister_userfault(context, pages(0..PAGES)).unwrap_err();
        assert_eq!((not_own.errno(), stage.registered()), (Errno::Inval, [true, true, true, false]));
        mm.close_userfault(&other);
        mm.close_userfault(&other);
        assert_eq!(stage.registered(), [true, true, false, false]);
        assert_eq!(mm.register_userfault(&other, pages(2..3)), Err(UserfaultError::Ended));
        // A gap between two mappings is no obstacle.
        mm.munmap(space, BASE + 2 * BYTES, BYTES).unwrap();
        assert_eq!(errno(BASE, PAGES * BYTES), Ok(()));
        assert_eq!(stage.registered(), [true, true, false, true]);
        assert_eq!(mm.unregister_userfault(context, pages(0..PAGES)), Ok(()));
        assert_eq!(stage.registered(), [false; 4]);
    });
}

/// What cannot be continued says why, after what could be.
#[test]
fn what_cannot_be_continued() {
    staged(|stage| {
        let (mm, context) = (stage.mm, &stage.context);
        let go = |range: Range<VirtAddr>| mm.continue_userfault(context, range, Wake::Now);
        assert_eq!(go(pages(2..3)), (0, Err(ContinueError::NoPage(at(2)))));
        assert_eq!(go(pages(0..3)), (2 * BYTES, Err(ContinueError::NoPage(at(2)))));
        assert_eq!(go(pages(0..1)), (0, Err(ContinueError::Mapped(at(0)))));
        assert_eq!(go(pages(0..PAGES + 1)), (0, Err(ContinueError::NoVma)), "beyond the mapping");
        assert_eq!(go(at(3)..at(3).add(PAGE_SIZE)), (0, Err(ContinueError::Range)), "a part of a page");
        mm.unregister_userfault(context, pages(3..4)).unwrap();
        assert_eq!(go(pages(3..4)), (0, Err(ContinueError::NoVma)), "not registered");
        assert_eq!(mm.deliver(&stage.object, PAGES * BYTES, &[1]), Err(DeliverError::NoPage));
        assert_eq!(mm.deliver(&stage.object, 2 * BYTES, &[1]), Err(DeliverError::NoPage));
        assert_eq!(mm.bring_huge_pages(&stage.object, 3..PAGES + 1), Err(DeliverError::NoPage));
        let small = mm.new_object(4096).unwrap();
        assert_eq!(mm.bring_huge_pages(&small, 0..1), Err(DeliverError::NotHuge));
        mm.close_object(small);
    });
}

/// The end of a space ends its contexts; who has one yet can do nothing with it.
#[test]
fn a_context_outlives_its_space() {
    machine().boot(|mm, env| {
        let Stage { space, object, context, .. } = Stage::new(mm, env);
        mm.destroy_space(&space);
        assert!(context.is_ended() && space.userfaults.is_empty());
        assert_eq!(mm.register_userfault(&context, pages(0..1)), Err(UserfaultError::Ended));
        assert_eq!(mm.continue_userfault(&context, pages(0..1), Wake::Now), (0, Err(ContinueError::NoVma)));
        assert_eq!(context.wait_for_fault(mm), Ok(()));
        mm.close_userfault(&context);
        mm.close_object(object);
        assert_eq!(mm.hugetlb.set_nr(mm, SIZE, 0).persistent, 0);
    });
}

/// Whichever allocation of a context, a registration, a delivery or a continue fails: it is an error, and nothing is
/// lost.
#[test]
fn every_allocation_of_a_server_may_fail() {
    let failed = fail_every_allocation(
        &Builder::new().ram_mib(32),
        |mm| {
            assert_eq!(mm.hugetlb.set_nr(mm, SIZE, PAGES).persistent, PAGES);
        },
        |mm, ()| {
            let result = serve_one(mm);
            assert_eq!(mm.hugetlb.counts(SIZE).reserved, 0);
            assert_eq!(mm.hugetlb.set_nr(mm, SIZE, 0).persistent, 0);
            result
        },
    );
    assert!(failed >= 12, "{failed}: object, space, VMAs, context, table, page, tables");
}

fn serve_one(mm: &Mm) -> Result<(), String> {
    let said = |error: &dyn std::fmt::Debug| format!("{error:?}");
    let object = mm.new_named_object(b"test", Some(SIZE)).map_err(|e| said(&e))?;
    let result = mm.new_space().map_err(|e| said(&e)).and_then(|space| {
        mm.truncate_object(&object, PAGES * BYTES).unwrap();
        let served = serve_in(mm, &space, &object);
        mm.check_all().unwrap();
        mm.destroy_space(&space);
        served
    });
    mm.close_object(object);
    result
}

fn serve_in(mm: &Mm, space: &KArc<AddressSpace>, object: &ObjectUse) -> Result<(), String> {
    mm.mmap_object(space, &shared(PAGES, BASE), object).map_err(|e| format!("{e:?}"))?;
    let context = mm.new_userfault(space, Serves::All).map_err(|e| format!("{e:?}"))?;
    // Its ends are cut off.
    let registered = mm.register_userfault(&context, pages(1..3)).map_err(|e| format!("{e:?}"));
    let served = registered.and_then(|()| {
        mm.bring_huge_pages(object, 1..3).map_err(|e| format!("{e:?}"))?;
        let (done, result) = mm.continue_userfault(&context, pages(1..3), Wake::Now);
        assert_eq!(done == 2 * BYTES, result.is_ok());
        result.map_err(|e| format!("{e:?}"))
    });
    mm.close_userfault(&context);
    served
}

/// A fault that finds no memory to wait is an error, and nobody sleeps; the next one is told.
#[test]
fn a_fault_without_memory_does_not_wait() {
    use mm::kalloc::inject::{self, Failing};
    staged(|stage| {
        inject::fail(1, Failing::Onwards);
        let refused = stage.mm.read_user(&stage.space, at(0), &mut [0]).unwrap_err();
        assert!(inject::disarm());
        assert_eq!(refused.reason, FaultReason::OutOfMemory);
        assert_eq!(stage.context.waiting(), 0);
    });
}
