//! Memory of hugetlb that fails: who gets an error, what comes back, and that no frame is lost or used again.

use arch::Access;
use arch::Pfn;
use arch::VirtAddr;
use arch::addr::PAGE_SIZE;
use mm::config::{HvoStrategy, Mapcount, MmConfig, TailEncoding};
use mm::fault::{FaultReason, Signal};
use mm::hugetlb::poison::{Outcome, PoisonError};
use mm::hugetlb::{HugeSize, take_spare};
use mm::hvo::layout::Layout;
use mm::page::{Flags, PageKind, page_of};
use mm::report::frames::kpf;
use mm::rmap::{MoveWhat, Refused, drop_target, migrate_folio};
use mm::shmem::ReadFailed;
use mm::space::{Advice, Errno, MapProt, MmapError, MmapRequest, MremapRequest};

use crate::poison_kit::*;

/// A private page: the next access of any of it is an error and no page of zeros, all of its folio but the frame that
/// failed comes back, and its neighbour in the VMA stays. MADV_DONTNEED makes the place usable again.
#[test]
fn a_private_page_is_lost_and_not_zero() {
    for size in SMALL {
        for &tails in TailEncoding::ALL {
            machine(size).config(|config| config.tails = tails).boot(|mm, _| {
                let free = mm.free_page_count();
                grow(mm, size, 3);
                let space = mm.new_space().unwrap();
                let start = mm.mmap(&space, &private(size, 2)).unwrap();
                let (last, next) = (start.add(size.bytes() - 1), start.add(size.bytes()));
                write(mm, &space, start, 1).unwrap();
                write(mm, &space, next, 2).unwrap();
                let pfn = frame(mm, &space, last);
                assert_eq!(mm.memory_failure(pfn), Ok(Outcome::Retired), "{size}");
                mm.check_all().unwrap();
                assert!(is_retired(pfn));
                assert_eq!(mm.failed_frames(), 1);
                assert_eq!(mm.hugetlb.counts(size), counts(2, 1, 0), "{size}");
                for va in [start, last] {
                    assert_eq!(read(mm, &space, va), Err(lost(size)));
                    assert_eq!(write(mm, &space, va, 1), Err(lost(size)));
                }
                let error = mm.read_user(&space, last, &mut [0]).unwrap_err();
                assert_eq!(error.signal(), Signal::BusMceErrAr { lsb: size.bytes().ilog2() as u8 });
                assert_eq!(error.info.va, last);
                assert_eq!(read(mm, &space, next), Ok(2));
                assert_eq!(mm.memory_failure(pfn), Ok(Outcome::Known));
                mm.madvise(&space, start.raw(), size.bytes(), Advice::DontNeed).unwrap();
                mm.check_all().unwrap();
                assert_eq!(mm.hugetlb.counts(size), counts(2, 1, 1), "{size}: the slot has a promise again");
                assert_eq!(read(mm, &space, last), Ok(0));
                mm.check_all().unwrap();
                mm.destroy_space(&space);
                assert_eq!(mm.hugetlb.counts(size), counts(2, 2, 0));
                grow(mm, size, 0);
                assert_missing(mm, free, 1);
                mm.check_all().unwrap();
            });
        }
    }
}

/// What mprotect, mremap, fork, munmap and exit make of a marker: it stays, moves, is copied, and goes, and a slot with
/// one has no promise.
#[test]
fn markers_go_where_their_memory_went() {
    for size in SMALL {
        machine(size).boot(|mm, _| {
            grow(mm, size, 4);
            let space = mm.new_space().unwrap();
            let start = mm.mmap(&space, &private(size, 2)).unwrap();
            write(mm, &space, start, 1).unwrap();
            assert_eq!(mm.memory_failure(frame(mm, &space, start)), Ok(Outcome::Retired));
            assert_eq!(mm.hugetlb.counts(size), counts(3, 3, 1));
            mm.mprotect(&space, start.raw(), 2 * size.bytes(), MapProt::READ).unwrap();
            mm.mprotect(&space, start.raw(), 2 * size.bytes(), RW).unwrap();
            mm.check_all().unwrap();
            assert_eq!(read(mm, &space, start), Err(lost(size)));
            let child = mm.fork_space(&space).unwrap();
            mm.check_all().unwrap();
            assert_eq!([&space, &child].map(|space| read(mm, space, start)), [Err(lost(size)); 2]);
            let away = mm.mmap(&space, &private(size, 2)).unwrap();
            mm.munmap(&space, away.raw(), 2 * size.bytes()).unwrap();
            let request = MremapRequest::from_raw(start.raw(), size.bytes(), size.bytes(), 3, away.raw());
            let moved = mm.mremap(&space, &request).unwrap();
            assert_eq!(moved, away);
            mm.check_all().unwrap();
            assert_eq!(read(mm, &space, moved), Err(lost(size)), "{size}");
            assert_eq!(read(mm, &space, start), Err(FaultReason::NoVma));
            assert_eq!(read(mm, &child, start), Err(lost(size)));
            assert_eq!(mm.hugetlb.counts(size).reserved, 1);
            mm.munmap(&space, moved.raw(), size.bytes()).unwrap();
            mm.check_all().unwrap();
            assert_eq!(mm.hugetlb.counts(size).reserved, 1);
            for space in [space, child] {
                mm.destroy_space(&space);
                mm.check_all().unwrap();
            }
            assert_eq!(mm.hugetlb.counts(size), counts(3, 3, 0));
            grow(mm, size, 0);
        });
    }
}

/// A page that parent and child share after fork is lost to both, in every way of counting.
#[test]
fn a_family_loses_its_page() {
    for size in SMALL {
        for &mapcount in Mapcount::ALL {
            let choices =
                |config: &mut MmConfig| (config.mapcount, config.hvo) = (mapcount, HvoStrategy::Off);
            machine(size).config(choices).boot(|mm, _| {
                grow(mm, size, 3);
                let space = mm.new_space().unwrap();
                let start = mm.mmap(&space, &private(size, 1)).unwrap();
                write(mm, &space, start, 1).unwrap();
                let child = mm.fork_space(&space).unwrap();
                let grandchild = mm.fork_space(&child).unwrap();
                write(mm, &grandchild, start, 3).unwrap();
                let pfn = frame(mm, &space, start.add(PAGE_SIZE));
                assert_eq!(mm.memory_failure(pfn), Ok(Outcome::Retired), "{size} {mapcount}");
                mm.check_all().unwrap();
                assert_eq!(read(mm, &space, start), Err(lost(size)));
                assert_eq!(write(mm, &child, start, 2), Err(lost(size)));
                assert_eq!(read(mm, &grandchild, start), Ok(3));
                for space in [space, child, grandchild] {
                    mm.destroy_space(&space);
                }
                assert_eq!(mm.hugetlb.counts(size), counts(2, 2, 0));
                grow(mm, size, 0);
            });
        }
    }
}

/// An object keeps its page: every space gets an error, a descriptor reads up to the 4 KiB that failed and not further,
/// and the folio comes back but for that with the hole, the truncation, or the object's end.
#[test]
fn an_object_keeps_its_failed_page() {
    for size in SMALL {
        for end in 0..3 {
            machine(size).boot(|mm, _| {
                let free = mm.free_page_count();
                grow(mm, size, 3);
                let file = object(mm, size, 2);
                let (space, other) = (mm.new_space().unwrap(), mm.new_space().unwrap());
                let start = mm.mmap_object(&space, &shared(size, 2), &file).unwrap();
                let there = mm.mmap_object(&other, &shared(size, 2), &file).unwrap();
                for n in 0..2 {
                    write(mm, &space, start.add(n * size.bytes()), 1).unwrap();
                }
                read(mm, &other, there).unwrap();
                let bad = 3 * PAGE_SIZE;
                let pfn = frame(mm, &space, start.add(bad));
                assert_eq!(mm.memory_failure(pfn), Ok(Outcome::Held), "{size}");
                mm.check_all().unwrap();
                assert_eq!(mm.memory_failure(pfn), Ok(Outcome::Known));
                assert_eq!(mm.hugetlb.counts(size), counts(3, 1, 0));
                assert_eq!(read(mm, &space, start), Err(lost(size)));
                assert_eq!(write(mm, &other, there.add(size.bytes() - 1), 1), Err(lost(size)));
                assert_eq!(read(mm, &space, start.add(size.bytes())), Ok(1));
                let hw = |pfn: Pfn| kpageflags(mm, pfn) & (kpf::HWPOISON | kpf::HUGE);
                assert_eq!(hw(pfn), kpf::HWPOISON | kpf::HUGE);
                assert_eq!([hw(pfn.add(1)), hw(Pfn::new(pfn.raw() - 1))], [kpf::HUGE; 2]);
                let mut bytes = vec![7; 2 * PAGE_SIZE as usize];
                assert_eq!(mm.read_object(&file, bad - 10, &mut bytes), Ok(10));
                assert_eq!(mm.read_object(&file, bad, &mut bytes), Err(ReadFailed));
                assert_eq!(mm.read_object(&file, bad + 4095, &mut bytes), Err(ReadFailed));
                assert_eq!(mm.read_object(&file, bad + 4096, &mut bytes), Ok(bytes.len()));
                // A hole in a part leaves what has failed.
                mm.punch_object(&file, 2..5);
                mm.check_all().unwrap();
                // A second page of the same folio.
                assert_eq!(mm.memory_failure(pfn.add(2)), Ok(Outcome::Held));
                assert_eq!(mm.failed_frames(), 2);
                mm.check_all().unwrap();
                match end {
                    0 => mm.punch_object(&file, 0..size.order().pages()),
                    1 => mm.truncate_object(&file, 0).unwrap(),
                    _ => {
                        mm.destroy_space(&space);
                        mm.destroy_space(&other);
                        mm.close_object(file.share());
                    }
                }
                if end != 2 {
                    mm.check_all().unwrap();
                    assert!(is_retired(pfn) && is_retired(pfn.add(2)), "{size} {end}");
                    match end {
                        0 => assert_eq!(read(mm, &space, start.add(bad)), Ok(0)),
                        _ => assert_eq!(read(mm, &space, start.add(bad)), Err(FaultReason::BeyondObject)),
                    }
                    mm.destroy_space(&space);
                    mm.destroy_space(&other);
                }
                mm.close_object(file);
                mm.check_all().unwrap();
                assert_eq!(mm.hugetlb.counts(size), counts(2, 2, 0));
                grow(mm, size, 0);
                assert_missing(mm, free, 2);
            });
        }
    }
}

/// A pinned page is unmapped, and stays whose it is until it is unpinned; fork and writes meanwhile find the marker.
#[test]
fn pins_keep_a_failed_page() {
    for size in SMALL {
        machine(size).boot(|mm, _| {
            grow(mm, size, 2);
            let space = mm.new_space().unwrap();
            let start = mm.mmap(&space, &private(size, 1)).unwrap();
            write(mm, &space, start, 1).unwrap();
            let pinned = mm.pin_user_pages(&space, start, 1, Access::Write).unwrap();
            let pfn = pinned.frame(0).unwrap();
            assert_eq!(mm.memory_failure(pfn), Ok(Outcome::Held), "{size}");
            mm.check_all().unwrap();
            assert!(page_of(pfn).flags().contains(Flags::POISONED));
            let child = mm.fork_space(&space).unwrap();
            assert_eq!(read(mm, &child, start), Err(lost(size)));
            assert_eq!(mm.hugetlb.counts(size), counts(2, 1, 0));
            mm.destroy_space(&child);
            mm.unpin(pinned);
            assert_eq!(mm.hugetlb.counts(size), counts(1, 1, 0));
            mm.check_all().unwrap();
            mm.destroy_space(&space);
            assert!(is_retired(pfn));
            grow(mm, size, 0);
        });
    }
}

/// What has failed does not move, is in the way of memory in one piece, and is not divided.
#[test]
fn what_has_failed_stays_where_it_is() {
    for size in [HugeSize::K64, HugeSize::M2] {
        machine(size).boot(|mm, _| {
            grow(mm, size, 3);
            let file = object(mm, size, 1);
            let space = mm.new_space().unwrap();
            let start = mm.mmap_object(&space, &shared(size, 1), &file).unwrap();
            write(mm, &space, start, 1).unwrap();
            let pfn = frame(mm, &space, start);
            assert_eq!(mm.memory_failure(pfn), Ok(Outcome::Held));
            let folio = mm.try_get_folio(pfn).unwrap();
            let target = take_spare(mm, size, |_| true).unwrap();
            let not_moved = migrate_folio(mm, folio, target, MoveWhat::All).unwrap_err();
            assert_eq!(not_moved.why, Refused::Poisoned);
            drop_target(mm, not_moved.target);
            assert!(mm.alloc_contig_at(pfn, size.order(), PageKind::Kernel).is_err());
            mm.check_all().unwrap();
            mm.destroy_space(&space);
            mm.close_object(file);
            assert!(is_retired(pfn));
            assert!(mm.alloc_contig_at(pfn, size.order(), PageKind::Kernel).is_err());
            assert_eq!(mm.hugetlb.counts(size), counts(2, 2, 0));
            if size == HugeSize::M2 {
                assert_eq!(mm.hugetlb.demote(mm, size, 9).folios, 2);
                grow(mm, HugeSize::K64, 0);
            }
            grow(mm, size, 0);
            mm.check_all().unwrap();
        });
    }
}

/// Only hugetlb may fail; MADV_HWPOISON lets the page of 4 KiB fail at which the range begins.
#[test]
fn injection() {
    let size = HugeSize::M2;
    machine(size).boot(|mm, _| {
        grow(mm, size, 2);
        let space = mm.new_space().unwrap();
        let anon = mm.mmap(&space, &MmapRequest::anonymous(PAGE_SIZE, RW)).unwrap();
        write(mm, &space, anon, 5).unwrap();
        let pfn = frame(mm, &space, anon);
        assert_eq!(mm.memory_failure(pfn), Err(PoisonError::NotHugetlb(pfn, PageKind::Anon)));
        let inject =
            |va: VirtAddr, bytes| mm.madvise(&space, va.raw(), bytes, Advice::from_raw(100).unwrap());
        let refused = inject(anon, PAGE_SIZE).unwrap_err();
        assert_eq!((refused, refused.errno()), (MmapError::NotHugetlb(anon), Errno::OpNotSupp));
        assert_eq!(read(mm, &space, anon), Ok(5));
        let end = mm.ram().iter().map(|bank| bank.end).max().unwrap();
        assert_eq!(mm.memory_failure(end), Err(PoisonError::NoRam(end)));
        let free = mm.alloc_pages(arch::Order::PAGE, PageKind::Kernel).unwrap();
        let pfn = free.pfn();
        mm.put_folio(free);
        assert!(matches!(mm.memory_failure(pfn), Err(PoisonError::NotHugetlb(..))));
        mm.check_all().unwrap();
        let start = mm.mmap(&space, &private(size, 2)).unwrap();
        write(mm, &space, start, 5).unwrap();
        let at = start.add(7 * PAGE_SIZE);
        let pfn = frame(mm, &space, at);
        inject(at, PAGE_SIZE).unwrap();
        assert!(is_retired(pfn));
        assert_eq!(inject(at, PAGE_SIZE), Err(MmapError::NoPage(at)));
        // One that nobody has touched is brought in first.
        inject(start.add(size.bytes()), size.bytes()).unwrap();
        assert_eq!((mm.failed_frames(), mm.hugetlb.counts(size).nr), (2, 0));
        assert_eq!(inject(start.add(2 * size.bytes()), 1).unwrap_err().errno(), Errno::Fault);
        mm.check_all().unwrap();
        mm.destroy_space(&space);
    });
}

/// A page of 1 GiB, private and shared.
#[test]
fn a_page_of_1_gib() {
    let size = HugeSize::G1;
    machine(size).boot(|mm, _| {
        grow(mm, size, 2);
        let space = mm.new_space().unwrap();
        let start = mm.mmap(&space, &private(size, 1)).unwrap();
        let file = object(mm, size, 1);
        let there = mm.mmap_object(&space, &shared(size, 1), &file).unwrap();
        write(mm, &space, start, 1).unwrap();
        write(mm, &space, there, 1).unwrap();
        let free = mm.free_page_count();
        let pfn = frame(mm, &space, start.add(77 << 12));
        assert_eq!(mm.memory_failure(pfn), Ok(Outcome::Retired));
        let restored = Layout::of(size.order()).unwrap().freed();
        assert_eq!(mm.free_page_count(), free + size.order().pages() - 1 - restored);
        let pfn = frame(mm, &space, there.add(99 << 20));
        assert_eq!(mm.memory_failure(pfn), Ok(Outcome::Held));
        for va in [start, there] {
            assert_eq!(read(mm, &space, va), Err(lost(size)));
        }
        let child = mm.fork_space(&space).unwrap();
        for va in [start, there] {
            assert_eq!(read(mm, &child, va), Err(lost(size)));
        }
        mm.check_all().unwrap();
        mm.destroy_space(&child);
        mm.destroy_space(&space);
        mm.close_object(file);
        assert_eq!(mm.hugetlb.counts(size), counts(0, 0, 0));
        assert_eq!((mm.failed_frames(), is_retired(pfn)), (2, true));
        mm.check_all().unwrap();
    });
}
