//! Shared hugetlb memory: one page for all who map it, promises that are the object's, truncation, moves.

use arch::contract::Cpu;
use arch::model::{Job, run_on_cpus};
use arch::{Access, Level, Machine};
use mm::Mm;
use mm::config::Mapcount;
use mm::fault::{FaultReason, Signal};
use mm::hugetlb::{HugeSize, take_spare};
use mm::rmap::{MoveWhat, migrate_folio};
use mm::shmem::{SizeError, WriteError};
use mm::space::{Advice, Errno, MapFlags, MapProt, MmapError, MmapRequest, MremapRequest};
use mm::testkit::fail_every_allocation;

use crate::common::{RW, counting, counts, flags, grow, machine, object, of_object, read, write};

const SIZES: [HugeSize; 3] = [HugeSize::K64, HugeSize::M2, HugeSize::M32];

fn request(size: HugeSize, pages: u64) -> MmapRequest {
    let huge = flags(size);
    let anonymous = MmapRequest::anonymous(pages * size.bytes(), RW);
    MmapRequest { flags: MapFlags::SHARED | MapFlags::ANONYMOUS | huge, ..anonymous }
}

/// Parent and child of a fork write to the same pages, in every way of counting; a page is taken from the pool once,
/// by the promise that mmap was given; the last unmapping gives all of it back.
#[test]
fn a_family_shares_its_pages() {
    for size in SIZES {
        for &mapcount in Mapcount::ALL {
            counting(size, mapcount).boot(|mm, _| {
                grow(mm, size, 3);
                let space = mm.new_space().unwrap();
                let start = mm.mmap(&space, &request(size, 2)).unwrap();
                assert_eq!(mm.hugetlb.counts(size), counts(3, 3, 2));
                write(mm, &space, start, 1).unwrap();
                let child = mm.fork_space(&space).unwrap();
                let (end, next) = (start.add(size.bytes() - 1), start.add(size.bytes()));
                write(mm, &child, end, 2).unwrap();
                write(mm, &child, next, 3).unwrap();
                assert_eq!([start, end, next].map(|va| read(mm, &space, va)), [1, 2, 3], "{size} {mapcount}");
                assert_eq!(mm.hugetlb.counts(size), counts(3, 1, 0));
                mm.mprotect(&space, start.raw(), size.bytes(), MapProt::READ).unwrap();
                assert_eq!(write(mm, &space, start, 4), Err(FaultReason::Rights));
                mm.mprotect(&space, start.raw(), size.bytes(), RW).unwrap();
                write(mm, &space, start, 4).unwrap();
                write(mm, &space, end, 5).unwrap();
                assert_eq!([start, end].map(|va| read(mm, &child, va)), [4, 5]);
                mm.check_all().unwrap();
                mm.destroy_space(&space);
                assert_eq!(mm.hugetlb.counts(size), counts(3, 1, 0));
                assert_eq!(read(mm, &child, end), 5);
                mm.destroy_space(&child);
                assert_eq!(mm.hugetlb.counts(size), counts(3, 3, 0));
                grow(mm, size, 0);
            });
        }
    }
}

/// A promise is the object's: another mapping of the same pages needs none, one of more pages needs those, and munmap
/// keeps them; the object's end gives them back. Without a promise a touch takes what is to spare, or is SIGBUS.
#[test]
fn promises_are_the_objects() {
    let size = HugeSize::K64;
    machine(size).boot(|mm, _| {
        grow(mm, size, 4);
        let file = object(mm, size, 8);
        let (space, other) = (mm.new_space().unwrap(), mm.new_space().unwrap());
        let first = mm.mmap_object(&space, &of_object(size, 1, 2), &file).unwrap();
        assert_eq!(mm.hugetlb.counts(size).reserved, 2);
        let second = mm.mmap_object(&other, &of_object(size, 0, 3), &file).unwrap();
        assert_eq!(mm.hugetlb.counts(size).reserved, 3);
        let refused = mm.mmap_object(&space, &of_object(size, 0, 5), &file).unwrap_err();
        assert_eq!((refused, refused.errno()), (MmapError::HugetlbPool(2), Errno::NoMem));
        assert_eq!(mm.hugetlb.counts(size).reserved, 3);
        mm.check_all().unwrap();
        mm.munmap(&other, second.raw(), 3 * size.bytes()).unwrap();
        assert_eq!(mm.hugetlb.counts(size).reserved, 3);
        write(mm, &space, first, 1).unwrap();
        assert_eq!(mm.hugetlb.counts(size), counts(4, 3, 2));
        let mut loose = of_object(size, 3, 3);
        loose.flags |= MapFlags::NORESERVE;
        let loose = mm.mmap_object(&other, &loose, &file).unwrap();
        write(mm, &other, loose, 2).unwrap();
        assert_eq!(write(mm, &other, loose.add(size.bytes()), 2), Err(FaultReason::HugetlbEmpty));
        assert_eq!(mm.hugetlb.counts(size), counts(4, 2, 2));
        mm.check_all().unwrap();
        mm.destroy_space(&space);
        mm.destroy_space(&other);
        assert_eq!(mm.hugetlb.counts(size), counts(4, 2, 2));
        mm.close_object(file);
        assert_eq!(mm.hugetlb.counts(size), counts(4, 4, 0));
        grow(mm, size, 0);
    });
}

/// Truncation takes pages out of every space and out of the pool's books: what lies beyond is SIGBUS, also for who had
/// it mapped; in every way of counting. MADV_REMOVE leaves a hole that reads as zeros. Sizes are whole pages.
#[test]
fn truncation_reaches_every_space() {
    for size in SIZES {
        for &mapcount in Mapcount::ALL {
            counting(size, mapcount).boot(|mm, _| {
                grow(mm, size, 3);
                let file = object(mm, size, 3);
                let space = mm.new_space().unwrap();
                let start = mm.mmap_object(&space, &of_object(size, 0, 3), &file).unwrap();
                let at = |page: u64| start.add(page * size.bytes());
                (0..2).for_each(|page| write(mm, &space, at(page), page as u8 + 1).unwrap());
                let child = mm.fork_space(&space).unwrap();
                assert_eq!((read(mm, &child, at(0)), read(mm, &child, at(1))), (1, 2));
                assert_eq!(mm.hugetlb.counts(size), counts(3, 1, 1));
                mm.truncate_object(&file, size.bytes()).unwrap();
                assert_eq!(mm.hugetlb.counts(size), counts(3, 2, 0), "{size} {mapcount}");
                for space in [&space, &child] {
                    let beyond = mm.write_user(space, at(1), &[1]).unwrap_err();
                    assert_eq!((beyond.reason, beyond.signal()), (FaultReason::BeyondObject, Signal::Bus));
                    assert_eq!(read(mm, space, at(0)), 1);
                }
                mm.check_all().unwrap();
                assert_eq!(mm.truncate_object(&file, 4096), Err(SizeError::NotWhole(4096)));
                mm.madvise(&space, at(0).raw(), size.bytes(), Advice::Remove).unwrap();
                assert_eq!(mm.hugetlb.counts(size), counts(3, 3, 0));
                assert_eq!((read(mm, &child, at(0)), read(mm, &space, at(0))), (0, 0));
                mm.destroy_space(&space);
                mm.destroy_space(&child);
                mm.close_object(file);
                grow(mm, size, 0);
            });
        }
    }
}

/// An object of hugetlb is read by offset, but not written; it is mapped at whole pages only.
#[test]
fn wrong_uses_of_an_object() {
    let size = HugeSize::M2;
    machine(size).boot(|mm, _| {
        grow(mm, size, 2);
        let file = object(mm, size, 2);
        let space = mm.new_space().unwrap();
        let start = mm.mmap_object(&space, &of_object(size, 0, 2), &file).unwrap();
        write(mm, &space, start.add(size.bytes() + 70_000), 7).unwrap();
        let mut bytes = [1; 3];
        assert_eq!(mm.read_object(&file, size.bytes() + 69_999, &mut bytes), Ok(3));
        assert_eq!(bytes, [0, 7, 0]);
        assert_eq!(mm.read_object(&file, 2 * size.bytes() - 1, &mut bytes), Ok(1));
        assert_eq!(mm.write_object(&file, 0, b"x"), Err(WriteError::Huge));
        let unaligned = MmapRequest { offset: 4096, ..of_object(size, 0, 1) };
        assert_eq!(mm.mmap_object(&space, &unaligned, &file).unwrap_err().errno(), Errno::Inval);
        mm.destroy_space(&space);
        mm.close_object(file);
        grow(mm, size, 0);
    });
}

/// A page that two spaces map moves to another of the pool: both see it there, and the object has it.
#[test]
fn a_shared_page_moves() {
    for size in SIZES {
        for &mapcount in Mapcount::ALL {
            counting(size, mapcount).boot(|mm, _| {
                grow(mm, size, 2);
                let file = object(mm, size, 1);
                let space = mm.new_space().unwrap();
                let start = mm.mmap_object(&space, &of_object(size, 0, 1), &file).unwrap();
                let end = start.add(size.bytes() - 1);
                write(mm, &space, end, 9).unwrap();
                let child = mm.fork_space(&space).unwrap();
                assert_eq!(read(mm, &child, end), 9);
                let old = file.page(0).unwrap();
                let target = take_spare(mm, size, |_| true).unwrap();
                let folio = mm.try_get_folio(old.pfn()).unwrap();
                migrate_folio(mm, folio, target, MoveWhat::All).unwrap();
                assert_ne!(file.page(0), Some(old), "{size} {mapcount}");
                mm.check_all().unwrap();
                write(mm, &space, start, 8).unwrap();
                assert_eq!((read(mm, &child, start), read(mm, &child, end)), (8, 9));
                mm.destroy_space(&space);
                mm.destroy_space(&child);
                mm.close_object(file);
                assert_eq!(mm.hugetlb.counts(size), counts(2, 2, 0));
                grow(mm, size, 0);
            });
        }
    }
}

/// A pin keeps the page where it is, and alive when the object has lost it.
#[test]
fn a_pinned_page_outlives_its_object() {
    let size = HugeSize::M2;
    machine(size).boot(|mm, _| {
        grow(mm, size, 1);
        let space = mm.new_space().unwrap();
        let start = mm.mmap(&space, &request(size, 1)).unwrap();
        let pinned = mm.pin_user_pages(&space, start, 1, Access::Write).unwrap();
        mm.destroy_space(&space);
        assert_eq!(mm.hugetlb.counts(size), counts(1, 0, 0));
        mm.unpin(pinned);
        assert_eq!(mm.hugetlb.counts(size), counts(1, 1, 0));
        grow(mm, size, 0);
    });
}

/// Two spaces touch the same pages while the object is truncated and grown: nobody loses a page or a promise.
#[test]
fn touches_and_truncations_at_once() {
    let size = HugeSize::K64;
    for seed in 0..20 {
        let seeded = |desc: &mut arch::model::MachineDesc| desc.seed = seed;
        machine(size).cpus(3).machine(seeded).boot(|mm, _| {
            grow(mm, size, 6);
            let file = object(mm, size, 4);
            let spaces = [mm.new_space().unwrap(), mm.new_space().unwrap()];
            let starts = spaces.each_ref().map(|s| mm.mmap_object(s, &of_object(size, 0, 4), &file).unwrap());
            let (file_ref, spaces_ref) = (&file, &spaces);
            let touch = |n: usize| -> Job<'_> {
                Box::new(move || {
                    for page in (0..4).chain(0..4) {
                        let _ = write(mm, &spaces_ref[n], starts[n].add(page * size.bytes() + n as u64), 1);
                        Machine::relax();
                    }
                })
            };
            let truncate: Job<'_> = Box::new(move || {
                for pages in [2, 4, 0, 3] {
                    mm.truncate_object(file_ref, pages * size.bytes()).unwrap();
                    Machine::relax();
                }
            });
            run_on_cpus(vec![touch(0), touch(1), truncate]);
            mm.check_all().unwrap();
            spaces.iter().for_each(|space| mm.destroy_space(space));
            mm.close_object(file);
            assert_eq!(mm.hugetlb.counts(size), counts(6, 6, 0), "seed {seed}");
            grow(mm, size, 0);
        });
    }
}

/// Whichever allocation fails between the object and the touch of a page of it: no promise and no page is lost.
#[test]
fn every_allocation_of_a_shared_page_may_fail() {
    let size = HugeSize::M2;
    let failed = fail_every_allocation(
        &machine(size),
        |mm| grow(mm, size, 2),
        |mm, ()| {
            let result = map_and_touch(mm, size);
            assert_eq!(mm.hugetlb.counts(size), counts(2, 2, 0));
            grow(mm, size, 0);
            result
        },
    );
    assert!(failed >= 8, "{failed}: object, lists, promise, tree, tables");
}

fn map_and_touch(mm: &Mm, size: HugeSize) -> Result<(), FaultReason> {
    let space = mm.new_space()?;
    let touched = match mm.mmap(&space, &request(size, 2)) {
        Ok(start) => write(mm, &space, start.add(size.bytes()), 1),
        Err(_) => Err(FaultReason::OutOfMemory),
    };
    mm.check_all().unwrap();
    mm.destroy_space(&space);
    touched
}

/// MADV_REMOVE of a part of a page zeroes that part for everybody and gives up neither the page nor a promise; of a
/// page and parts of its neighbours it takes the page, and zeroes the parts.
#[test]
fn a_hole_in_part_is_zeroed() {
    let size = HugeSize::M32;
    machine(size).boot(|mm, _| {
        grow(mm, size, 3);
        let file = object(mm, size, 3);
        let space = mm.new_space().unwrap();
        let start = mm.mmap_object(&space, &of_object(size, 0, 3), &file).unwrap();
        let remove = |from: u64, bytes: u64| mm.madvise(&space, start.raw() + from, bytes, Advice::Remove);
        remove(4096, 4096).unwrap();
        assert_eq!(mm.hugetlb.counts(size), counts(3, 3, 3));
        mm.check_all().unwrap();
        let bytes = size.bytes();
        let places = [0, 4096, 8191, 8192, bytes - 4097, bytes - 4096, bytes, 2 * bytes, 2 * bytes + 4096];
        places.iter().for_each(|&at| write(mm, &space, start.add(at), 7).unwrap());
        remove(4096, 4096).unwrap();
        let read = |at: u64| read(mm, &space, start.add(at));
        assert_eq!(places.map(read), [7, 0, 0, 7, 7, 7, 7, 7, 7]);
        assert_eq!(mm.hugetlb.counts(size), counts(3, 0, 0));
        remove(bytes - 4096, bytes + 8192).unwrap();
        assert_eq!(mm.hugetlb.counts(size), counts(3, 1, 0));
        assert_eq!(places.map(read), [7, 0, 0, 7, 7, 0, 0, 0, 7]);
        mm.destroy_space(&space);
        mm.close_object(file);
        grow(mm, size, 0);
    });
}

/// A mapping of more pages than there can ever be is refused at once: nothing is noted page by page.
#[test]
fn a_mapping_of_all_addresses_is_refused() {
    let size = HugeSize::K64;
    machine(size).boot(|mm, _| {
        grow(mm, size, 2);
        let space = mm.new_space().unwrap();
        let pages = (1 << 46) / size.bytes();
        let refused = mm.mmap(&space, &request(size, pages)).unwrap_err();
        assert_eq!((refused, refused.errno()), (MmapError::HugetlbPool(pages), Errno::NoMem));
        assert_eq!(mm.hugetlb.counts(size), counts(2, 2, 0));
        mm.destroy_space(&space);
        grow(mm, size, 0);
    });
}

/// A truncation empties tables and leaves them where they are; mremap, which comes to them, takes them away, as no VMA
/// is there afterwards.
#[test]
fn a_truncation_empties_what_mremap_leaves() {
    for size in SIZES {
        machine(size).boot(|mm, _| {
            grow(mm, size, 2);
            let file = object(mm, size, 2);
            let space = mm.new_space().unwrap();
            let start = mm.mmap_object(&space, &of_object(size, 0, 2), &file).unwrap();
            write(mm, &space, start, 1).unwrap();
            mm.truncate_object(&file, 0).unwrap();
            let request =
                MremapRequest::from_raw(start.raw(), 2 * size.bytes(), 2 * size.bytes(), 3, 1 << 38);
            mm.mremap(&space, &request).unwrap();
            assert_eq!(space.ptl.lock().last(start).level, Level::L0, "{size}");
            mm.destroy_space(&space);
            mm.close_object(file);
            grow(mm, size, 0);
        });
    }
}
