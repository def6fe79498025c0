//! Pages of all four sizes: what maps them, copy-on-write, moves, and what the pools have afterwards.

use arch::contiguous::CONT_ENTRIES;
use arch::model::{Bounds, Job, explore_runs, run_on_cpus};
use arch::{Access, Level, VirtAddr};
use mm::config::{Contpte, Mapcount};
use mm::fault::{FaultReason, Signal};
use mm::hugetlb::{Counts, HugeSize};
use mm::page::PageKind;
use mm::pgtable::{TableStock, normal_folio};
use mm::space::{Errno, MapFlags, MapProt, MmapError, MmapRequest, MremapRequest};
use mm::testkit::Builder;

use crate::common::{RW, counting, counts, flags, grow, machine, map, read, write};

/// One touch anywhere in a page maps all of it, by one block or by a group of 16 entries that have the contiguous bit
/// as chosen; each entry has a reference; the promise becomes the page, and munmap gives both back.
#[test]
fn a_touch_maps_a_page_of_each_size() {
    for size in HugeSize::ALL {
        for &contpte in Contpte::ALL {
            machine(size).config(|config| config.contpte = contpte).boot(|mm, _| {
                grow(mm, size, 2);
                let space = mm.new_space().unwrap();
                let start = map(mm, &space, size, 2);
                assert!(start.is_aligned(size.bytes()));
                assert_eq!(mm.hugetlb.counts(size), counts(2, 2, 2));
                write(mm, &space, start.add(size.bytes() - 1), 7).unwrap();
                assert_eq!(mm.hugetlb.counts(size), counts(2, 1, 1));
                let first = space.ptl.lock().last(start);
                assert_eq!(first.level, size.level());
                let folded = contpte == Contpte::On && size.entries() == CONT_ENTRIES;
                assert_eq!(first.desc.is_contiguous(), folded, "{size}");
                let folio = normal_folio(mm, first.desc, first.level).unwrap();
                assert_eq!((folio.kind(), folio.order()), (PageKind::Hugetlb, size.order()));
                assert_eq!(folio.refcount(), size.entries() as u32);
                assert_eq!((read(mm, &space, start), read(mm, &space, start.add(size.bytes() - 1))), (0, 7));
                mm.check_all().unwrap();
                mm.munmap(&space, start.raw(), size.bytes()).unwrap();
                assert_eq!(mm.hugetlb.counts(size), counts(2, 2, 1));
                mm.destroy_space(&space);
                assert_eq!(mm.hugetlb.counts(size), counts(2, 2, 0));
                grow(mm, size, 0);
            });
        }
    }
}

/// After fork both sides read one page; the first that writes gets a page of its own, which is not promised to it; the
/// other then writes in place, in every way of counting. Rights that are taken and given again change nothing of that.
#[test]
fn a_write_after_fork_copies_a_page_of_each_size() {
    for size in [HugeSize::K64, HugeSize::M2, HugeSize::M32] {
        for &mapcount in Mapcount::ALL {
            counting(size, mapcount).boot(|mm, _| {
                grow(mm, size, 2);
                let space = mm.new_space().unwrap();
                let start = map(mm, &space, size, 1);
                let end = start.add(size.bytes() - 1);
                write(mm, &space, start, 1).unwrap();
                let child = mm.fork_space(&space).unwrap();
                mm.check_all().unwrap();
                write(mm, &child, end, 2).unwrap();
                assert_eq!(mm.hugetlb.counts(size), counts(2, 0, 0), "{size} {mapcount}");
                write(mm, &space, end, 3).unwrap();
                assert_eq!(mm.hugetlb.counts(size), counts(2, 0, 0), "{size} {mapcount}");
                let seen = |space, va| read(mm, space, va);
                assert_eq!([seen(&space, start), seen(&space, end)], [1, 3]);
                assert_eq!([seen(&child, start), seen(&child, end)], [1, 2]);
                mm.mprotect(&space, start.raw(), size.bytes(), MapProt::READ).unwrap();
                assert_eq!(write(mm, &space, start, 4), Err(FaultReason::Rights));
                mm.mprotect(&space, start.raw(), size.bytes(), RW).unwrap();
                for va in [start, end] {
                    write(mm, &space, va, 5).unwrap();
                }
                assert_eq!(mm.hugetlb.counts(size), counts(2, 0, 0), "{size} {mapcount}");
                mm.check_all().unwrap();
                mm.destroy_space(&child);
                mm.destroy_space(&space);
                grow(mm, size, 0);
            });
        }
    }
}

/// Fork shares a page of 1 GiB, too: read-only on both sides.
#[test]
fn fork_shares_a_page_of_1g() {
    let size = HugeSize::G1;
    machine(size).boot(|mm, _| {
        grow(mm, size, 1);
        let space = mm.new_space().unwrap();
        let start = map(mm, &space, size, 1);
        write(mm, &space, start.add(5), 9).unwrap();
        let child = mm.fork_space(&space).unwrap();
        assert_eq!(read(mm, &child, start.add(5)), 9);
        assert_eq!(write(mm, &child, start, 1), Err(FaultReason::HugetlbEmpty));
        mm.check_all().unwrap();
        mm.destroy_space(&space);
        write(mm, &child, start, 1).unwrap();
        mm.destroy_space(&child);
        grow(mm, size, 0);
    });
}

/// What fork may not share as it is pinned is copied to a page of the same size, once.
#[test]
fn a_pinned_page_of_each_size_is_copied_by_fork() {
    for size in [HugeSize::K64, HugeSize::M2, HugeSize::M32] {
        machine(size).boot(|mm, _| {
            grow(mm, size, 2);
            let space = mm.new_space().unwrap();
            let start = map(mm, &space, size, 1);
            let end = start.add(size.bytes() - 1);
            write(mm, &space, end, 1).unwrap();
            let pinned = mm.pin_user_pages(&space, start, 1, Access::Write).unwrap();
            let child = mm.fork_space(&space).unwrap();
            assert_eq!(mm.hugetlb.counts(size), counts(2, 0, 0), "{size}");
            write(mm, &space, end, 2).unwrap();
            write(mm, &child, start, 3).unwrap();
            assert_eq!((read(mm, &space, end), read(mm, &child, end)), (2, 1));
            mm.check_all().unwrap();
            mm.unpin(pinned);
            mm.destroy_space(&child);
            mm.destroy_space(&space);
            grow(mm, size, 0);
        });
    }
}

/// A page that is its space's alone is pinned to be read, also where it may not be written, in every way of counting.
#[test]
fn a_page_that_may_not_be_written_is_pinned() {
    for size in [HugeSize::K64, HugeSize::M2, HugeSize::M32] {
        for &mapcount in Mapcount::ALL {
            counting(size, mapcount).boot(|mm, _| {
                grow(mm, size, 1);
                let space = mm.new_space().unwrap();
                let start = map(mm, &space, size, 1);
                write(mm, &space, start, 1).unwrap();
                mm.mprotect(&space, start.raw(), size.bytes(), MapProt::READ).unwrap();
                let pinned = mm.pin_user_pages(&space, start, 1, Access::Read).unwrap();
                mm.check_all().unwrap();
                mm.unpin(pinned);
                mm.destroy_space(&space);
                grow(mm, size, 0);
            });
        }
    }
}

/// mremap moves whole pages and nothing less; the contents go along.
#[test]
fn pages_of_each_size_move() {
    for size in HugeSize::ALL {
        machine(size).boot(|mm, _| {
            grow(mm, size, 2);
            let space = mm.new_space().unwrap();
            let start = map(mm, &space, size, 2);
            for n in 0..2 {
                write(mm, &space, start.add((n + 1) * size.bytes() - 1), n as u8 + 1).unwrap();
            }
            let to = 0x20_0000_0000;
            let request = |addr, len| MremapRequest::from_raw(addr, len, len, 3, to);
            let refused = mm.mremap(&space, &request(start.raw() + 4096, size.bytes())).unwrap_err();
            assert_eq!(refused.errno(), Errno::Inval);
            assert_eq!(mm.mremap(&space, &request(start.raw(), 2 * size.bytes())), Ok(VirtAddr::new(to)));
            mm.check_all().unwrap();
            for n in 0..2 {
                assert_eq!(read(mm, &space, VirtAddr::new(to + (n + 1) * size.bytes() - 1)), n as u8 + 1);
            }
            mm.destroy_space(&space);
            grow(mm, size, 0);
        });
    }
}

/// A size that no pool has is EINVAL; a length is rounded up to whole pages; an address that is no multiple of one is
/// EINVAL; an empty pool is ENOMEM at mmap, and SIGBUS where nothing was promised. Nothing is lost.
#[test]
fn wrong_requests_of_each_size() {
    for size in HugeSize::ALL {
        machine(size).boot(|mm, _| {
            let space = mm.new_space().unwrap();
            let request = MmapRequest::anonymous(1, RW).with(flags(size));
            let refused = mm.mmap(&space, &request).unwrap_err();
            assert_eq!((refused, refused.errno()), (MmapError::HugetlbPool(1), Errno::NoMem));
            let unaligned = mm.mmap(&space, &request.fixed(0x4000_1000)).unwrap_err();
            assert_eq!(unaligned.errno(), Errno::Inval);
            let loose = mm.mmap(&space, &request.with(MapFlags::NORESERVE)).unwrap();
            assert_eq!(space.vma_at(loose).unwrap().bytes(), size.bytes());
            let signal = mm.write_user(&space, loose, &[1]).unwrap_err().signal();
            assert_eq!(signal, Signal::Bus);
            mm.destroy_space(&space);
            assert_eq!(mm.hugetlb.counts(size), counts(0, 0, 0));
        });
    }
    Builder::new().boot(|mm, _| {
        let space = mm.new_space().unwrap();
        for log in [12, 20, 22, 29, 34, 63] {
            let flags = MapFlags::HUGETLB | MapFlags::from_bits_retain(log << 26);
            let refused = mm.mmap(&space, &MmapRequest::anonymous(1, RW).with(flags)).unwrap_err();
            assert_eq!((refused, refused.errno()), (MmapError::HugeSize(log), Errno::Inval));
        }
        mm.destroy_space(&space);
    });
}

/// With `nr_overcommit_hugepages` an empty pool makes pages when they are promised, or touched without a promise, up to
/// so many; they leave with their user. Where memory is out, nothing is promised and nothing lost.
#[test]
fn surplus_pages_come_and_go() {
    for size in [HugeSize::K64, HugeSize::M2, HugeSize::M32] {
        machine(size).boot(|mm, _| {
            let free = mm.free_page_count();
            mm.hugetlb.set_overcommit(size, 2);
            let space = mm.new_space().unwrap();
            let request = |pages: u64| MmapRequest::anonymous(pages * size.bytes(), RW).with(flags(size));
            assert_eq!(mm.mmap(&space, &request(3)).unwrap_err().errno(), Errno::NoMem);
            assert_eq!(mm.hugetlb.counts(size), Counts { overcommit: 2, ..counts(0, 0, 0) });
            let start = mm.mmap(&space, &request(1)).unwrap();
            assert_eq!(mm.hugetlb.counts(size), Counts { surplus: 1, overcommit: 2, ..counts(1, 1, 1) });
            let loose = mm.mmap(&space, &request(2).with(MapFlags::NORESERVE)).unwrap();
            write(mm, &space, loose, 1).unwrap();
            assert_eq!(write(mm, &space, loose.add(size.bytes()), 1), Err(FaultReason::HugetlbEmpty));
            write(mm, &space, start, 1).unwrap();
            assert_eq!(mm.hugetlb.counts(size), Counts { surplus: 2, overcommit: 2, ..counts(2, 0, 0) });
            // The pool is made larger: what is surplus is of it from now on.
            grow(mm, size, 1);
            assert_eq!(mm.hugetlb.counts(size), Counts { surplus: 1, overcommit: 2, ..counts(2, 0, 0) });
            mm.munmap(&space, start.raw(), size.bytes()).unwrap();
            assert_eq!(mm.hugetlb.counts(size), Counts { surplus: 0, overcommit: 2, ..counts(1, 0, 0) });
            mm.destroy_space(&space);
            assert_eq!(mm.hugetlb.counts(size), Counts { overcommit: 2, ..counts(1, 1, 0) });
            grow(mm, size, 0);
            mm.check_all().unwrap();
            let lost = free - mm.free_page_count();
            assert!(lost <= 16, "{size}: {lost} pages, of HVO's and tables'");
        });
    }
}

/// Tables that were left where a page of 1 GiB goes are gone, and flushed, before it comes.
#[test]
fn a_page_of_1g_moves_to_where_tables_were_left() {
    let size = HugeSize::G1;
    machine(size).boot(|mm, _| {
        grow(mm, size, 1);
        let space = mm.new_space().unwrap();
        let start = map(mm, &space, size, 1);
        write(mm, &space, start, 1).unwrap();
        let to = VirtAddr::new(0x20_0000_0000);
        let mut stock = TableStock::new(mm, 3).unwrap();
        let left = space.ptl.lock().entry_or_table(space.flusher(mm), to, Level::L3, &mut stock).is_ok();
        assert!(left);
        let request = MremapRequest::from_raw(start.raw(), size.bytes(), size.bytes(), 3, to.raw());
        assert_eq!(mm.mremap(&space, &request), Ok(to));
        assert_eq!(read(mm, &space, to), 1);
        mm.destroy_space(&space);
        grow(mm, size, 0);
    });
}

/// Tables that hold nothing give way to a page of whatever size that comes to their place.
#[test]
fn a_touch_takes_the_place_of_empty_tables() {
    for size in [HugeSize::M2, HugeSize::M32, HugeSize::G1] {
        machine(size).boot(|mm, _| {
            grow(mm, size, 1);
            let space = mm.new_space().unwrap();
            let start = map(mm, &space, size, 1);
            for va in [start, start.add(size.bytes() - 1)] {
                let mut stock = TableStock::new(mm, 3).unwrap();
                let left =
                    space.ptl.lock().entry_or_table(space.flusher(mm), va, Level::L3, &mut stock).is_ok();
                assert!(left);
            }
            write(mm, &space, start.add(5), 1).unwrap();
            assert_eq!(space.ptl.lock().last(start).level, size.level());
            mm.destroy_space(&space);
            grow(mm, size, 0);
        });
    }
}

/// Two spaces touch pages that nobody promised while the pool has none: each gets one, whoever takes the page that was
/// made for the other.
#[test]
fn the_faster_takes_the_page_and_the_other_gets_one() {
    let size = HugeSize::K64;
    let explored = explore_runs(Bounds { switches: 1, runs: 20_000 }, || {
        machine(size).ram_mib(8).boot(|mm, _| {
            mm.hugetlb.set_overcommit(size, 2);
            let spaces = [mm.new_space().unwrap(), mm.new_space().unwrap()];
            let loose = flags(size) | MapFlags::NORESERVE;
            let request = MmapRequest::anonymous(size.bytes(), RW).with(loose);
            let starts = spaces.each_ref().map(|space| mm.mmap(space, &request).unwrap());
            let touch = |n: usize| -> Job<'_> {
                let space = &spaces[n];
                Box::new(move || write(mm, space, starts[n], 1).unwrap())
            };
            run_on_cpus(vec![touch(0), touch(1)]);
            spaces.iter().for_each(|space| mm.destroy_space(space));
            assert_eq!(mm.hugetlb.counts(size), Counts { overcommit: 2, ..counts(0, 0, 0) });
        });
    });
    assert!(explored.complete && explored.runs > 100, "{explored:?}");
}
