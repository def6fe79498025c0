//! hugetlb memory of a process: promises, faults, and what munmap and exit give back.

use arch::contract::Cpu;
use arch::model::{Job, run_on_cpus};
use arch::{Level, Machine, Order, VirtAddr};
use mm::Mm;
use mm::fault::FaultReason;
use mm::hugetlb::Counts;
use mm::hugetlb::HugeSize;
use mm::kalloc::KArc;
use mm::page::{Flags, PageKind, page_of};
use mm::space::{AddressSpace, Errno, MapFlags, MapProt, MmapError, MmapRequest};
use mm::testkit::{Builder, fail_every_allocation};

const HUGE: u64 = 2 << 20;

/// A request for `pages` huge pages anywhere.
fn request(pages: u64) -> MmapRequest {
    MmapRequest::anonymous(pages * HUGE, MapProt::READ | MapProt::WRITE).with(MapFlags::HUGETLB)
}

fn assert_counts(mm: &Mm, nr: u64, free: u64, reserved: u64) {
    assert_eq!(mm.hugetlb.counts(HugeSize::M2), Counts { nr, free, reserved, surplus: 0, overcommit: 0 });
}

/// Stores a byte as the user.
fn touch(mm: &Mm, space: &KArc<AddressSpace>, va: VirtAddr) -> Result<(), FaultReason> {
    mm.write_user(space, va, &[0x5a]).map_err(|error| error.reason)
}

/// A fault maps one zeroed block by a promise; munmap of a part gives back folio and promise of exactly that
/// part; exit gives back the rest. Folios come back to the pool as they left it, optimised.
#[test]
fn accounting_is_exact() {
    Builder::new().ram_mib(32).boot(|mm, _| {
        assert_eq!(mm.hugetlb.set_nr(mm, HugeSize::M2, 6).persistent, 6);
        let space = mm.new_space().unwrap();
        let start = mm.mmap(&space, &request(4)).unwrap();
        assert_counts(mm, 6, 6, 4);
        for slot in [0, 1] {
            touch(mm, &space, start.add(slot * HUGE + 12345)).unwrap();
        }
        assert_counts(mm, 6, 4, 2);

        let leaf = space.ptl.lock().walk(start).leaf().unwrap();
        assert_eq!(leaf.level, Level::L2);
        let folio = page_of(leaf.desc.output(Level::L2).pfn());
        assert_eq!((folio.kind(), folio.order()), (PageKind::Hugetlb, Order::PMD));
        assert_eq!((folio.refcount(), folio.raw_mapcount()), (1, 1));
        assert!(folio.flags().contains(Flags::HVO));
        let mut bytes = vec![1; HUGE as usize];
        mm.read_user(&space, start, &mut bytes).unwrap();
        assert!(bytes.iter().enumerate().all(|(n, &byte)| byte == if n == 12345 { 0x5a } else { 0 }));

        mm.munmap(&space, start.add(HUGE).raw(), 2 * HUGE).unwrap();
        assert_counts(mm, 6, 5, 1);
        mm.destroy_space(&space);
        assert_counts(mm, 6, 6, 0);
        assert_eq!(mm.hugetlb.set_nr(mm, HugeSize::M2, 0).persistent, 0);
    });
}

/// What is not there is not promised (ENOMEM), and a mapping without a promise finds the pool empty at the
/// fault: an error for the process, after which a page that is freed serves it.
#[test]
fn an_empty_pool_is_an_error() {
    Builder::new().ram_mib(32).boot(|mm, _| {
        assert_eq!(mm.hugetlb.set_nr(mm, HugeSize::M2, 2).persistent, 2);
        let space = mm.new_space().unwrap();
        let refused = mm.mmap(&space, &request(3)).unwrap_err();
        assert_eq!((refused, refused.errno()), (MmapError::HugetlbPool(3), Errno::NoMem));
        let promised = mm.mmap(&space, &request(1)).unwrap();
        let loose = mm.mmap(&space, &request(3).with(MapFlags::NORESERVE)).unwrap();
        touch(mm, &space, loose).unwrap();
        assert_eq!(touch(mm, &space, loose.add(HUGE)), Err(FaultReason::HugetlbEmpty));
        assert_counts(mm, 2, 1, 1);
        touch(mm, &space, promised).unwrap();
        assert_eq!(touch(mm, &space, loose.add(HUGE)), Err(FaultReason::HugetlbEmpty));
        mm.munmap(&space, promised.raw(), HUGE).unwrap();
        touch(mm, &space, loose.add(HUGE)).unwrap();
        assert_eq!(mm.hugetlb.set_nr(mm, HugeSize::M2, 0).persistent, 0);
        assert_eq!(mm.hugetlb.counts(HugeSize::M2).surplus, 2);
        mm.destroy_space(&space);
        assert_counts(mm, 0, 0, 0);
    });
}

/// Ranges that would cut a page are refused with EINVAL and change nothing.
#[test]
fn pages_are_not_cut() {
    Builder::new().ram_mib(32).boot(|mm, _| {
        assert_eq!(mm.hugetlb.set_nr(mm, HugeSize::M2, 2).persistent, 2);
        let space = mm.new_space().unwrap();
        let start = mm.mmap(&space, &request(2)).unwrap();
        touch(mm, &space, start).unwrap();
        let errno = |result: Result<(), MmapError>| result.unwrap_err().errno();
        assert_eq!(errno(mm.munmap(&space, start.raw(), 4096)), Errno::Inval);
        assert_eq!(errno(mm.munmap(&space, start.raw() + 4096, HUGE)), Errno::Inval);
        assert_eq!(errno(mm.mprotect(&space, start.raw(), 4096, MapProt::READ)), Errno::Inval);
        assert_counts(mm, 2, 1, 1);
        touch(mm, &space, start).unwrap();
        mm.destroy_space(&space);
        assert_counts(mm, 2, 2, 0);
        assert_eq!(mm.hugetlb.set_nr(mm, HugeSize::M2, 0).persistent, 0);
    });
}

/// Threads that fault on the same slots at once get one folio a slot, and nobody finds the pool empty
/// although every slot was promised its page.
#[test]
fn racing_faults_take_one_folio_a_slot() {
    const SLOTS: u64 = 6;
    Builder::new().ram_mib(32).cpus(4).machine(|desc| desc.seed = 11).boot(|mm, _| {
        assert_eq!(mm.hugetlb.set_nr(mm, HugeSize::M2, SLOTS).persistent, SLOTS);
        for _ in 0..5 {
            let space = mm.new_space().unwrap();
            let start = mm.mmap(&space, &request(SLOTS)).unwrap();
            let space = &space;
            let job = |offset: u64| -> Job<'_> {
                Box::new(move || {
                    for slot in 0..SLOTS {
                        touch(mm, space, start.add((slot * HUGE) + offset)).unwrap();
                        Machine::relax();
                    }
                })
            };
            run_on_cpus((0..4).map(|cpu| job(cpu * 8)).collect());
            assert_counts(mm, SLOTS, 0, 0);
            mm.destroy_space(space);
            assert_counts(mm, SLOTS, SLOTS, 0);
        }
        assert_eq!(mm.hugetlb.set_nr(mm, HugeSize::M2, 0).persistent, 0);
    });
}

/// Whichever allocation fails between mmap and the fault: promise and folio are where they were.
#[test]
fn every_allocation_may_fail() {
    let failed = fail_every_allocation(
        &Builder::new().ram_mib(32),
        |mm| assert_eq!(mm.hugetlb.set_nr(mm, HugeSize::M2, 2).persistent, 2),
        |mm, ()| {
            let result = map_and_touch(mm);
            assert_counts(mm, 2, 2, 0);
            assert_eq!(mm.hugetlb.set_nr(mm, HugeSize::M2, 0).persistent, 0);
            result
        },
    );
    assert!(failed >= 4, "{failed}: the space, its root, two tables");
}

fn map_and_touch(mm: &Mm) -> Result<(), FaultReason> {
    let space = mm.new_space()?;
    let touched = match mm.mmap(&space, &request(2)) {
        Ok(start) => touch(mm, &space, start.add(HUGE)),
        Err(_) => Err(FaultReason::OutOfMemory),
    };
    mm.destroy_space(&space);
    touched
}
