//! Private mappings of hugetlb objects: the object's pages are read, private ones are written; promises are the slots'.

use arch::{Access, VirtAddr};
use mm::Mm;
use mm::config::Mapcount;
use mm::fault::{FaultReason, Signal};
use mm::hugetlb::{HugeSize, take_spare};
use mm::kalloc::KArc;
use mm::page::PageRef;
use mm::pgtable::normal_folio;
use mm::rmap::{MoveWhat, migrate_folio};
use mm::shmem::ObjectUse;
use mm::space::{AddressSpace, Advice, Errno, MapFlags, MapProt, MmapError, MmapRequest, MremapRequest};
use mm::testkit::fail_every_allocation;

use crate::common::{
    RW, counting, counts, grow, machine, map_object, object, of_object, private, read, write,
};

const SIZES: [HugeSize; 3] = [HugeSize::K64, HugeSize::M2, HugeSize::M32];

/// The folio that is mapped at `va`.
fn folio_at(mm: &Mm, space: &AddressSpace, va: VirtAddr) -> PageRef {
    let last = space.ptl.lock().last(va);
    normal_folio(mm, last.desc, last.level).unwrap()
}

/// The life of a private mapping, in every way of counting: reads see the object's page, the first write copies all of
/// it by the slot's promise, the object and who shares it see nothing of that; what the object lacks is the mapping's
/// own zeros. Fork hands private copies on, and the other side of a write gets one that nobody promised.
#[test]
fn a_write_goes_to_a_private_copy() {
    for size in SIZES {
        for &mapcount in Mapcount::ALL {
            counting(size, mapcount).boot(|mm, _| {
                grow(mm, size, 5);
                let file = object(mm, size, 3);
                let (space, other) = (mm.new_space().unwrap(), mm.new_space().unwrap());
                let shared = map_object(mm, &other, &file, &of_object(size, 0, 2));
                let (end, next) = (size.bytes() - 1, size.bytes());
                write(mm, &other, shared, 1).unwrap();
                let start = map_object(mm, &space, &file, &private(size, 0, 2));
                assert_eq!(mm.hugetlb.counts(size), counts(5, 4, 3), "{size} {mapcount}");
                assert_eq!((read(mm, &space, start), read(mm, &space, start.add(end))), (1, 0));
                assert_eq!(Some(folio_at(mm, &space, start)), file.page(0));
                write(mm, &other, shared.add(end), 2).unwrap();
                assert_eq!(read(mm, &space, start.add(end)), 2);
                mm.check_all().unwrap();
                write(mm, &space, start.add(end), 3).unwrap();
                assert_eq!(mm.hugetlb.counts(size), counts(5, 3, 2), "{size} {mapcount}");
                assert_eq!((read(mm, &space, start), read(mm, &other, shared.add(end))), (1, 2));
                // The object has no second page, and gets none by this.
                assert_eq!(read(mm, &space, start.add(next)), 0);
                assert_eq!((file.pages(), mm.hugetlb.counts(size)), (1, counts(5, 2, 1)));
                write(mm, &space, start.add(next), 4).unwrap();
                write(mm, &other, shared.add(next), 5).unwrap();
                assert_eq!((read(mm, &space, start.add(next)), file.pages()), (4, 2));
                assert_eq!(mm.hugetlb.counts(size), counts(5, 1, 0));
                let child = mm.fork_space(&space).unwrap();
                mm.check_all().unwrap();
                write(mm, &child, start, 6).unwrap();
                assert_eq!(mm.hugetlb.counts(size), counts(5, 0, 0), "{size} {mapcount}");
                assert_eq!(write(mm, &child, start.add(next), 7), Err(FaultReason::HugetlbEmpty));
                write(mm, &space, start, 8).unwrap();
                let seen =
                    [&space, &child].map(|space| [0, end, next].map(|at| read(mm, space, start.add(at))));
                assert_eq!(seen, [[8, 3, 4], [6, 3, 4]], "{size} {mapcount}");
                mm.check_all().unwrap();
                mm.destroy_space(&space);
                write(mm, &child, start.add(next), 7).unwrap();
                mm.destroy_space(&child);
                assert_eq!([0, end, next].map(|at| read(mm, &other, shared.add(at))), [1, 2, 5]);
                mm.destroy_space(&other);
                mm.close_object(file);
                assert_eq!(mm.hugetlb.counts(size), counts(5, 5, 0));
                grow(mm, size, 0);
            });
        }
    }
}

/// A promise is the slot's: it is made for all of the mapping at mmap, whatever the object has, used by the slot's
/// first private page, not by a look at the object's, and comes back with munmap, with MADV_DONTNEED, and with the
/// space. A mapping for which there are not enough is refused; without a promise the slot takes what is to spare.
#[test]
fn promises_are_the_slots() {
    let size = HugeSize::K64;
    machine(size).boot(|mm, _| {
        grow(mm, size, 5);
        let file = object(mm, size, 8);
        let (space, other) = (mm.new_space().unwrap(), mm.new_space().unwrap());
        let at = |start: VirtAddr, slot: u64| start.add(slot * size.bytes());
        let shared = map_object(mm, &other, &file, &of_object(size, 1, 1));
        write(mm, &other, shared, 1).unwrap();
        let start = map_object(mm, &space, &file, &private(size, 0, 4));
        assert_eq!(mm.hugetlb.counts(size), counts(5, 4, 4));
        let refused = mm.mmap_object(&space, &private(size, 0, 1), &file).unwrap_err();
        assert_eq!((refused, refused.errno()), (MmapError::HugetlbPool(1), Errno::NoMem));
        let loose = MmapRequest { flags: MapFlags::PRIVATE | MapFlags::NORESERVE, ..private(size, 0, 1) };
        let loose = map_object(mm, &other, &file, &loose);
        assert_eq!(write(mm, &other, loose, 1), Err(FaultReason::HugetlbEmpty));
        assert_eq!(read(mm, &space, at(start, 1)), 1);
        assert_eq!(mm.hugetlb.counts(size), counts(5, 4, 4));
        for slot in [1, 3] {
            write(mm, &space, at(start, slot), 2).unwrap();
        }
        assert_eq!(mm.hugetlb.counts(size), counts(5, 2, 2));
        mm.madvise(&space, start.raw(), 4 * size.bytes(), Advice::DontNeed).unwrap();
        assert_eq!(mm.hugetlb.counts(size), counts(5, 4, 4));
        assert_eq!((read(mm, &space, at(start, 1)), read(mm, &space, at(start, 3))), (1, 0));
        assert_eq!(mm.hugetlb.counts(size), counts(5, 3, 3));
        mm.check_all().unwrap();
        // A hole in the middle of the list, and what is over it.
        mm.munmap(&space, at(start, 1).raw(), 2 * size.bytes()).unwrap();
        assert_eq!(mm.hugetlb.counts(size), counts(5, 3, 1));
        write(mm, &other, loose, 3).unwrap();
        let fixed = private(size, 1, 2).fixed(at(start, 1).raw());
        assert_eq!(mm.mmap_object(&space, &fixed, &file).unwrap_err().errno(), Errno::NoMem);
        mm.munmap(&other, loose.raw(), size.bytes()).unwrap();
        map_object(mm, &space, &file, &fixed);
        mm.munmap(&space, at(start, 2).raw(), size.bytes()).unwrap();
        // One over another: the promises of what is replaced go.
        map_object(mm, &space, &file, &private(size, 2, 1).fixed(at(start, 0).raw()));
        assert_eq!(mm.hugetlb.counts(size), counts(5, 3, 2));
        mm.check_all().unwrap();
        mm.destroy_space(&space);
        assert_eq!(mm.hugetlb.counts(size), counts(5, 4, 0));
        mm.destroy_space(&other);
        mm.close_object(file);
        grow(mm, size, 0);
    });
}

/// Truncation takes private copies, too, in every space and way of counting, and what lies beyond is SIGBUS; their
/// slots have used their promise. MADV_REMOVE takes the object's pages from private mappings, and leaves their copies.
#[test]
fn truncation_takes_copies_and_a_hole_leaves_them() {
    for size in SIZES {
        for &mapcount in Mapcount::ALL {
            counting(size, mapcount).boot(|mm, _| {
                grow(mm, size, 5);
                let file = object(mm, size, 2);
                let (space, other) = (mm.new_space().unwrap(), mm.new_space().unwrap());
                let shared = map_object(mm, &other, &file, &of_object(size, 0, 2));
                let start = map_object(mm, &space, &file, &private(size, 0, 2));
                let at = |start: VirtAddr, slot: u64| start.add(slot * size.bytes());
                (0..2).for_each(|slot| write(mm, &other, at(shared, slot), 1).unwrap());
                write(mm, &space, at(start, 0), 2).unwrap();
                assert_eq!(read(mm, &space, at(start, 1)), 1);
                let child = mm.fork_space(&space).unwrap();
                assert_eq!(read(mm, &child, at(start, 1)), 1);
                assert_eq!(mm.hugetlb.counts(size), counts(5, 2, 1), "{size} {mapcount}");
                let private = mm.madvise(&space, start.raw(), size.bytes(), Advice::Remove).unwrap_err();
                assert_eq!(private.errno(), Errno::Acces);
                mm.madvise(&other, shared.raw(), 2 * size.bytes(), Advice::Remove).unwrap();
                mm.check_all().unwrap();
                assert_eq!((file.pages(), mm.hugetlb.counts(size)), (0, counts(5, 4, 1)));
                for space in [&space, &child] {
                    assert_eq!(read(mm, space, at(start, 0)), 2);
                    assert_eq!(read(mm, space, at(start, 1)), 0);
                }
                assert_eq!(mm.hugetlb.counts(size), counts(5, 2, 0), "{size} {mapcount}");
                mm.truncate_object(&file, 0).unwrap();
                assert_eq!(mm.hugetlb.counts(size), counts(5, 5, 0), "{size} {mapcount}");
                for (space, start) in [(&space, start), (&child, start), (&other, shared)] {
                    let beyond = mm.write_user(space, at(start, 0), &[1]).unwrap_err();
                    assert_eq!((beyond.reason, beyond.signal()), (FaultReason::BeyondObject, Signal::Bus));
                }
                mm.check_all().unwrap();
                mm.truncate_object(&file, size.bytes()).unwrap();
                write(mm, &space, at(start, 0), 3).unwrap();
                assert_eq!(mm.hugetlb.counts(size), counts(5, 4, 0));
                [&space, &child, &other].into_iter().for_each(|space| mm.destroy_space(space));
                mm.close_object(file);
                assert_eq!(mm.hugetlb.counts(size), counts(5, 5, 0));
                grow(mm, size, 0);
            });
        }
    }
}

/// Rights that are taken and given again let a private mapping write what is its own, and nothing of the object's;
/// mremap takes pages and promises along.
#[test]
fn rights_and_places_change() {
    for size in SIZES {
        for &mapcount in Mapcount::ALL {
            counting(size, mapcount).boot(|mm, _| {
                grow(mm, size, 5);
                let file = object(mm, size, 3);
                let (space, other) = (mm.new_space().unwrap(), mm.new_space().unwrap());
                let shared = map_object(mm, &other, &file, &of_object(size, 0, 1));
                write(mm, &other, shared, 1).unwrap();
                let start = map_object(mm, &space, &file, &private(size, 0, 3));
                let bytes = size.bytes();
                write(mm, &space, start.add(bytes), 2).unwrap();
                assert_eq!(read(mm, &space, start), 1);
                for prot in [MapProt::READ, MapProt::empty(), RW] {
                    mm.mprotect(&space, start.raw(), 3 * bytes, prot).unwrap();
                    mm.check_all().unwrap();
                }
                // The object's page goes, and the slot keeps its promise.
                mm.madvise(&space, start.raw(), bytes, Advice::DontNeed).unwrap();
                assert_eq!(read(mm, &space, start), 1);
                assert_eq!(mm.hugetlb.counts(size), counts(5, 3, 2), "{size} {mapcount}");
                write(mm, &space, start.add(bytes), 3).unwrap();
                assert_eq!(mm.hugetlb.counts(size), counts(5, 3, 2), "{size} {mapcount}");
                let to = 0x20_0000_0000;
                let request = MremapRequest::from_raw(start.raw() + bytes, 2 * bytes, 2 * bytes, 3, to);
                assert_eq!(mm.mremap(&space, &request), Ok(VirtAddr::new(to)));
                mm.check_all().unwrap();
                mm.munmap(&space, start.raw(), bytes).unwrap();
                assert_eq!(mm.hugetlb.counts(size), counts(5, 3, 1), "{size} {mapcount}");
                write(mm, &space, VirtAddr::new(to + bytes), 4).unwrap();
                assert_eq!(mm.hugetlb.counts(size), counts(5, 2, 0));
                assert_eq!([0, bytes].map(|at| read(mm, &space, VirtAddr::new(to + at))), [3, 4]);
                // Truncation finds them where they are.
                mm.truncate_object(&file, bytes).unwrap();
                assert_eq!(mm.hugetlb.counts(size), counts(5, 4, 0), "{size} {mapcount}");
                assert_eq!(read(mm, &other, shared), 1);
                [&space, &other].into_iter().for_each(|space| mm.destroy_space(space));
                mm.close_object(file);
                grow(mm, size, 0);
            });
        }
    }
}

/// The object's page moves under a private mapping that reads it, and a private copy moves under parent and child.
#[test]
fn both_kinds_of_pages_move() {
    for size in SIZES {
        for &mapcount in Mapcount::ALL {
            counting(size, mapcount).boot(|mm, _| {
                grow(mm, size, 5);
                let file = object(mm, size, 2);
                let (space, other) = (mm.new_space().unwrap(), mm.new_space().unwrap());
                let shared = map_object(mm, &other, &file, &of_object(size, 0, 1));
                write(mm, &other, shared, 1).unwrap();
                let start = map_object(mm, &space, &file, &private(size, 0, 2));
                let next = start.add(size.bytes());
                write(mm, &space, next, 2).unwrap();
                assert_eq!(read(mm, &space, start), 1);
                let child = mm.fork_space(&space).unwrap();
                assert_eq!(read(mm, &child, start), 1);
                for va in [start, next] {
                    let old = folio_at(mm, &space, va);
                    let target = take_spare(mm, size, |_| true).unwrap();
                    let new = target.page();
                    let folio = mm.try_get_folio(old.pfn()).unwrap();
                    migrate_folio(mm, folio, target, MoveWhat::All).unwrap();
                    assert_eq!([&space, &child].map(|space| folio_at(mm, space, va)), [new; 2]);
                    mm.check_all().unwrap();
                }
                write(mm, &other, shared, 3).unwrap();
                assert_eq!((read(mm, &space, start), read(mm, &child, next)), (3, 2), "{size} {mapcount}");
                write(mm, &child, next, 4).unwrap();
                assert_eq!(read(mm, &space, next), 2);
                [&space, &child, &other].into_iter().for_each(|space| mm.destroy_space(space));
                mm.close_object(file);
                assert_eq!(mm.hugetlb.counts(size), counts(5, 5, 0));
                grow(mm, size, 0);
            });
        }
    }
}

/// Who pins memory of a private mapping pins a page that is its own, also to read it, and fork copies that for the
/// child; it outlives mapping and object.
#[test]
fn pins_are_of_private_pages() {
    for size in SIZES {
        machine(size).boot(|mm, _| {
            grow(mm, size, 4);
            let file = object(mm, size, 1);
            let (space, other) = (mm.new_space().unwrap(), mm.new_space().unwrap());
            let shared = map_object(mm, &other, &file, &of_object(size, 0, 1));
            write(mm, &other, shared, 1).unwrap();
            let start = map_object(mm, &space, &file, &private(size, 0, 1));
            assert_eq!(read(mm, &space, start), 1);
            let pinned = mm.pin_user_pages(&space, start, 1, Access::Read).unwrap();
            assert_ne!(Some(folio_at(mm, &space, start)), file.page(0));
            assert_eq!(mm.hugetlb.counts(size), counts(4, 2, 0), "{size}");
            let child = mm.fork_space(&space).unwrap();
            assert_eq!(mm.hugetlb.counts(size), counts(4, 1, 0), "{size}");
            write(mm, &space, start, 2).unwrap();
            assert_eq!((read(mm, &child, start), read(mm, &other, shared)), (1, 1));
            mm.check_all().unwrap();
            mm.madvise(&space, start.raw(), size.bytes(), Advice::DontNeed).unwrap();
            // Another promise in place of the one that is pinned for long.
            assert_eq!(mm.hugetlb.counts(size), counts(4, 1, 1), "{size}");
            mm.truncate_object(&file, 0).unwrap();
            assert_eq!(mm.hugetlb.counts(size), counts(4, 3, 1));
            [&space, &child, &other].into_iter().for_each(|space| mm.destroy_space(space));
            mm.close_object(file);
            mm.unpin(pinned);
            assert_eq!(mm.hugetlb.counts(size), counts(4, 4, 0));
            grow(mm, size, 0);
        });
    }
}

/// A page of 1 GiB is read from the object, and copied whole.
#[test]
fn a_private_page_of_1g() {
    let size = HugeSize::G1;
    machine(size).boot(|mm, _| {
        grow(mm, size, 2);
        let file = object(mm, size, 1);
        let (space, other) = (mm.new_space().unwrap(), mm.new_space().unwrap());
        let shared = map_object(mm, &other, &file, &of_object(size, 0, 1));
        write(mm, &other, shared.add(5), 1).unwrap();
        let start = map_object(mm, &space, &file, &private(size, 0, 1));
        assert_eq!(read(mm, &space, start.add(5)), 1);
        write(mm, &space, start, 2).unwrap();
        let child = mm.fork_space(&space).unwrap();
        assert_eq!(
            (read(mm, &child, start), read(mm, &child, start.add(5)), read(mm, &other, shared)),
            (2, 1, 0)
        );
        mm.check_all().unwrap();
        [&space, &child, &other].into_iter().for_each(|space| mm.destroy_space(space));
        mm.close_object(file);
        grow(mm, size, 0);
    });
}

/// Whichever allocation fails in the life of a private mapping: no promise and no page is lost.
#[test]
fn every_allocation_of_a_private_mapping_may_fail() {
    for size in [HugeSize::K64, HugeSize::M2] {
        let failed = fail_every_allocation(
            &machine(size),
            |mm| {
                grow(mm, size, 8);
                let file = object(mm, size, 4);
                let other = mm.new_space().unwrap();
                let shared = map_object(mm, &other, &file, &of_object(size, 0, 1));
                write(mm, &other, shared, 1).unwrap();
                mm.destroy_space(&other);
                file
            },
            |mm, file| {
                let space = mm.new_space();
                let result = space.map_err(|_| FaultReason::OutOfMemory).and_then(|space| {
                    let lived = live(mm, &space, &file, size);
                    mm.check_all().unwrap();
                    mm.destroy_space(&space);
                    lived
                });
                mm.close_object(file);
                assert_eq!(mm.hugetlb.counts(size), counts(8, 8, 0));
                grow(mm, size, 0);
                result
            },
        );
        assert!(failed >= 20, "{failed}: lists, tables, VMAs, the child");
    }
}

/// Maps, reads, writes, forks, cuts, discards and moves.
fn live(mm: &Mm, space: &KArc<AddressSpace>, file: &ObjectUse, size: HugeSize) -> Result<(), FaultReason> {
    let memory = |_: MmapError| FaultReason::OutOfMemory;
    let start = mm.mmap_object(space, &private(size, 0, 4), file).map_err(memory)?;
    let at = |slot: u64| start.add(slot * size.bytes());
    let mut byte = [0];
    mm.read_user(space, at(0), &mut byte).map_err(|error| error.reason)?;
    for slot in [0, 2] {
        write(mm, space, at(slot), 2)?;
    }
    let child = mm.fork_space(space).map_err(|_| FaultReason::OutOfMemory)?;
    let written = write(mm, &child, at(0), 3);
    mm.destroy_space(&child);
    written?;
    mm.madvise(space, at(2).raw(), size.bytes(), Advice::DontNeed).map_err(memory)?;
    let to = 0x20_0000_0000;
    let request = MremapRequest::from_raw(at(1).raw(), 2 * size.bytes(), 2 * size.bytes(), 3, to);
    mm.mremap(space, &request).map_err(memory)?;
    mm.munmap(space, to, size.bytes()).map_err(memory)
}

/// A mapping at an offset that is no multiple of a page is EINVAL; one of more pages than there can be is refused, and
/// nothing is noted page by page; MAP_SHARED beside it goes on as before.
#[test]
fn wrong_requests() {
    for size in SIZES {
        machine(size).boot(|mm, _| {
            grow(mm, size, 1);
            let file = object(mm, size, 1);
            let space = mm.new_space().unwrap();
            let inside = MmapRequest { offset: 4096, ..private(size, 0, 1) };
            assert_eq!(mm.mmap_object(&space, &inside, &file).unwrap_err().errno(), Errno::Inval);
            let pages = (1 << 46) / size.bytes();
            let refused = mm.mmap_object(&space, &private(size, 0, pages), &file).unwrap_err();
            assert_eq!((refused, refused.errno()), (MmapError::HugetlbPool(pages), Errno::NoMem));
            let start = map_object(mm, &space, &file, &private(size, 0, 1));
            assert_eq!(mm.munmap(&space, start.raw() + 4096, 4096).unwrap_err().errno(), Errno::Inval);
            assert_eq!(mm.hugetlb.counts(size), counts(1, 1, 1));
            mm.destroy_space(&space);
            mm.close_object(file);
            assert_eq!(mm.hugetlb.counts(size), counts(1, 1, 0));
            grow(mm, size, 0);
        });
    }
}
