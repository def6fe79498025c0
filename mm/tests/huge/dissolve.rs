//! Free folios of the pools that go back to the buddy allocator by where they are.

use std::cell::Cell;

use arch::Pfn;
use arch::contract::Cpu;
use arch::model::{Job, MachineDesc, run_on_cpus};
use arch::{Machine, Order};
use mm::Mm;
use mm::boot::Frames;
use mm::hugetlb::{HugeSize, NotDissolved};
use mm::page::{Flags, PageKind, page_of};
use mm::pgtable::normal_folio;
use mm::space::Errno;
use mm::testkit::fail_every_allocation;

use crate::common::{counts, grow, machine, map, write};

/// The first frames of all folios of this size.
fn folios(mm: &Mm, size: HugeSize) -> Vec<Pfn> {
    let all = mm.ram().iter().flat_map(|bank| bank.iter()).filter(|pfn| pfn.is_aligned(size.order()));
    all.filter(|&pfn| {
        let page = page_of(pfn);
        page.kind() == PageKind::Hugetlb && page.flags().contains(Flags::HEAD)
    })
    .collect()
}

/// A free folio goes, whichever of its frames is named, and the pool is smaller by it; one that is in use stays, and so
/// does a free one where all are promised; what is of no pool is no reason to complain. The memory is anybody's.
#[test]
fn a_free_folio_goes() {
    for size in HugeSize::ALL {
        machine(size).boot(|mm, _| {
            grow(mm, size, 2);
            let space = mm.new_space().unwrap();
            let start = map(mm, &space, size, 1);
            write(mm, &space, start, 1).unwrap();
            let first = space.ptl.lock().last(start);
            let used = normal_folio(mm, first.desc, first.level).unwrap().pfn();
            let free = *folios(mm, size).iter().find(|&&pfn| pfn != used).unwrap();
            assert_eq!(mm.hugetlb.dissolve(mm, used), Err(NotDissolved::InUse));
            let other = map(mm, &space, size, 1);
            assert_eq!(mm.hugetlb.dissolve(mm, free), Err(NotDissolved::Promised));
            assert_eq!(NotDissolved::Promised.errno(), Errno::Busy);
            assert_eq!(mm.hugetlb.counts(size), counts(2, 1, 1));
            mm.munmap(&space, other.raw(), size.bytes()).unwrap();
            let last = free.add(size.order().pages() - 1);
            assert_eq!(mm.hugetlb.dissolve(mm, last), Ok(size.order().pages()), "{size}");
            assert_eq!(mm.hugetlb.counts(size), counts(1, 0, 0));
            assert_eq!(mm.hugetlb.dissolve(mm, free), Ok(0));
            mm.check_all().unwrap();
            let order = size.order().min(Order::PMD);
            let block = mm.alloc_contig_at(free, order, PageKind::Kernel).unwrap();
            mm.free_pages(block, order);
            mm.destroy_space(&space);
            grow(mm, size, 0);
        });
    }
}

/// Of a range the folios go that it has a part of, of any size, up to the first that stays.
#[test]
fn a_range_is_cleared_up_to_what_stays() {
    machine(HugeSize::M2).boot(|mm, _| {
        grow(mm, HugeSize::K64, 3);
        grow(mm, HugeSize::M2, 2);
        let bank = mm.ram()[0];
        assert_eq!(mm.hugetlb.dissolve_range(mm, bank), Ok(3 * 16 + 2 * 512));
        mm.check_all().unwrap();
        grow(mm, HugeSize::K64, 3);
        let space = mm.new_space().unwrap();
        let start = map(mm, &space, HugeSize::K64, 3);
        write(mm, &space, start, 1).unwrap();
        let at = folios(mm, HugeSize::K64);
        let range = Frames::new(at[0].add(3), at[2].add(5).offset_from(at[0].add(3)));
        let (stays, why) = mm.hugetlb.dissolve_range(mm, range).unwrap_err();
        assert!(stays == at[0].add(3) || at.contains(&stays), "{stays}");
        assert!(matches!(why, NotDissolved::InUse | NotDissolved::Promised));
        assert_eq!(mm.hugetlb.counts(HugeSize::K64), counts(3, 2, 2));
        mm.destroy_space(&space);
        grow(mm, HugeSize::K64, 0);
    });
}

/// Where there is no memory for its struct pages, a folio stays in its pool as it was.
#[test]
fn every_allocation_may_fail() {
    let size = HugeSize::M2;
    let stayed = Cell::new(0);
    let failed = fail_every_allocation(
        &machine(size),
        |mm| grow(mm, size, 1),
        |mm, ()| {
            let result = mm.hugetlb.dissolve(mm, folios(mm, size)[0]);
            match result {
                Ok(pages) => assert_eq!((pages, mm.hugetlb.counts(size)), (512, counts(0, 0, 0))),
                Err(why) => {
                    stayed.set(stayed.get() + 1);
                    assert_eq!((why.errno(), mm.hugetlb.counts(size)), (Errno::NoMem, counts(1, 1, 0)));
                }
            }
            mm.check_all().unwrap();
            grow(mm, size, 0);
            result
        },
    );
    assert!(stayed.get() >= 7 && stayed.get() == failed, "{failed} failed, {} stayed", stayed.get());
}

/// Folios are dissolved while others map, touch and unmap pages: every promise is kept.
#[test]
fn promises_are_kept_meanwhile() {
    let size = HugeSize::K64;
    for seed in 0..20 {
        let seeded = |desc: &mut MachineDesc| desc.seed = seed;
        machine(size).cpus(3).machine(seeded).boot(|mm, _| {
            grow(mm, size, 6);
            let spaces = [mm.new_space().unwrap(), mm.new_space().unwrap()];
            let (at, spaces_ref) = (folios(mm, size), &spaces);
            let touch = |n: usize| -> Job<'_> {
                Box::new(move || {
                    let space = &spaces_ref[n];
                    for _ in 0..4 {
                        let request = mm::space::MmapRequest::anonymous(size.bytes(), crate::common::RW);
                        let mapped = mm.mmap(space, &request.with(crate::common::flags(size)));
                        if let Ok(start) = mapped {
                            write(mm, space, start, 1).unwrap();
                            mm.munmap(space, start.raw(), size.bytes()).unwrap();
                        }
                        Machine::relax();
                    }
                })
            };
            let dissolve: Job<'_> = Box::new(move || {
                for pfn in at {
                    let _ = mm.hugetlb.dissolve(mm, pfn);
                    Machine::relax();
                }
            });
            run_on_cpus(vec![touch(0), touch(1), dissolve]);
            mm.check_all().unwrap();
            spaces.iter().for_each(|space| mm.destroy_space(space));
            grow(mm, size, 0);
        });
    }
}
