//! Everything at once, and everything that fails.

use arch::Machine;
use arch::contract::Cpu;
use arch::model::{Job, MachineDesc, run_on_cpus};
use mm::Mm;
use mm::config::Mapcount;
use mm::fault::FaultReason;
use mm::hugetlb::HugeSize;
use mm::hugetlb::hgm::ContinueError;
use mm::kalloc::KArc;
use mm::shmem::ObjectUse;
use mm::space::{AddressSpace, Advice, Errno, MapFlags, MmapRequest};
use mm::testkit::fail_every_allocation;

use super::site::{KIB, MIB, RW, Site, machine};

/// Faults, continuing, collapse, MADV_DONTNEED, fork, truncation, and splits by somebody who comes from the page
/// without M, all of one page at once: nobody loses a reference, a mapping, a table or a byte.
#[test]
fn all_at_once() {
    for (size, mapcount) in [
        (HugeSize::K64, Mapcount::MmOwner),
        (HugeSize::M2, Mapcount::RfcV1Counted),
        (HugeSize::M2, Mapcount::ThpLike),
        (HugeSize::M2, Mapcount::VmaPt),
        (HugeSize::M32, Mapcount::TotalMapped),
    ] {
        for seed in 0..8 {
            let seeded = |desc: &mut MachineDesc| desc.seed = seed;
            machine(size, mapcount).cpus(4).machine(seeded).boot(|mm, _| {
                let site = Site::new(mm, size, 1);
                let (bytes, site) = (size.bytes(), &site);
                let places = [0, 4 * KIB, 8 * KIB, bytes / 2, bytes - 4 * KIB];
                let touch: Job<'_> = Box::new(move || {
                    for at in places.into_iter().cycle().take(15) {
                        // While the page is on its way back to the pool, there is none.
                        let read = site.read(at);
                        let may_fail = [FaultReason::BeyondObject, FaultReason::HugetlbEmpty];
                        assert!(read.map_or_else(|why| may_fail.contains(&why), |byte| byte <= 1));
                        Machine::relax();
                    }
                });
                let go_on: Job<'_> = Box::new(move || {
                    for (at, length) in
                        [(4 * KIB, 4 * KIB), (bytes / 2, bytes / 2), (0, bytes), (8 * KIB, 8 * KIB)]
                    {
                        let (done, _) = site.go_on(at, length);
                        assert!(done <= length);
                        Machine::relax();
                    }
                });
                let change: Job<'_> = Box::new(move || {
                    for round in 0..4 {
                        site.advise(0, 64 * KIB, Advice::Collapse).unwrap();
                        site.advise(0, bytes, Advice::Collapse).unwrap();
                        if round % 2 == 0 {
                            site.advise(0, bytes, Advice::DontNeed).unwrap();
                        }
                        let child = mm.fork_space(&site.space).unwrap();
                        mm.destroy_space(&child);
                    }
                });
                let shake: Job<'_> = Box::new(move || {
                    let file = site.file.as_ref().unwrap();
                    for round in 0..6 {
                        let _ = site.try_split(places[round % places.len()]);
                        if round == 3 {
                            mm.truncate_object(file, 0).unwrap();
                            mm.truncate_object(file, bytes).unwrap();
                        }
                        Machine::relax();
                    }
                });
                run_on_cpus(vec![touch, go_on, change, shake]);
                mm.check_all().unwrap();
            });
        }
    }
}

/// A page of 1 GiB by 4 KiB: one thread makes blocks of 2 MiB, another one takes all of it out of the tables, and a
/// third continues other parts. Counts that stand with the level-2 table are taken off while that is there.
#[test]
fn blocks_are_made_while_their_table_goes() {
    for mapcount in [Mapcount::RfcV1Counted, Mapcount::Vmacount] {
        for seed in 0..4 {
            let seeded = |desc: &mut MachineDesc| desc.seed = seed;
            machine(HugeSize::G1, mapcount).cpus(3).machine(seeded).boot(|mm, _| {
                let site = Site::new(mm, HugeSize::G1, 1);
                let site_ref = &site;
                let populate = || {
                    for block in 0..4 {
                        let _ = site_ref.go_on(block * 2 * MIB + 4 * KIB, 8 * KIB);
                    }
                };
                populate();
                let collapse: Job<'_> = Box::new(move || {
                    for block in 0..4 {
                        site_ref.advise(block * 2 * MIB, 2 * MIB, Advice::Collapse).unwrap();
                        Machine::relax();
                    }
                });
                let discard: Job<'_> = Box::new(move || {
                    for _ in 0..2 {
                        site_ref.advise(0, 1 << 30, Advice::DontNeed).unwrap();
                        Machine::relax();
                    }
                });
                run_on_cpus(vec![collapse, discard, Box::new(populate)]);
                site.end();
            });
        }
    }
}

/// Whichever allocation fails while a page is continued by pieces, split and collapsed: the error is ENOMEM, nothing is
/// lost, and what was done counts.
#[test]
fn every_allocation_may_fail() {
    let size = HugeSize::M2;
    let failed = fail_every_allocation(
        &machine(size, Mapcount::RfcV1Counted),
        |mm| assert_eq!(mm.hugetlb.set_nr(mm, size, 1).persistent, 1),
        |mm, ()| by_pieces(mm, size),
    );
    assert!(failed >= 8, "{failed}: object, space, lists, tables");
}

fn by_pieces(mm: &Mm, size: HugeSize) -> Result<(), Errno> {
    let result = with_object(mm, size);
    let counts = mm.hugetlb.counts(size);
    assert_eq!((counts.nr, counts.free, counts.reserved), (1, 1, 0));
    assert_eq!(mm.hugetlb.set_nr(mm, size, 0).persistent, 0);
    result
}

fn with_object(mm: &Mm, size: HugeSize) -> Result<(), Errno> {
    let file = mm.new_huge_object(size, size.bytes()).map_err(|_| Errno::NoMem)?;
    let result = mm.new_space().map_err(|_| Errno::NoMem).and_then(|space| {
        let result = continue_and_collapse(mm, size, &file, &space);
        mm.check_all().unwrap();
        mm.destroy_space(&space);
        result
    });
    mm.close_object(file);
    result
}

fn continue_and_collapse(
    mm: &Mm,
    size: HugeSize,
    file: &ObjectUse,
    space: &KArc<AddressSpace>,
) -> Result<(), Errno> {
    let request = MmapRequest { flags: MapFlags::SHARED, ..MmapRequest::anonymous(size.bytes(), RW) };
    let errno = |error: mm::space::MmapError| error.errno();
    let start = mm.mmap_object(space, &request, file).map_err(errno)?;
    mm.write_user(space, start.add(9), &[1]).map_err(|_| Errno::NoMem)?;
    mm.madvise(space, start.raw(), size.bytes(), Advice::DontNeed).map_err(errno)?;
    mm.madvise(space, start.raw(), size.bytes(), Advice::Split).map_err(|_| Errno::NoMem)?;
    mm.continue_huge(space, start.add(4 * KIB)..start.add(8 * KIB)).1.map_err(ContinueError::errno)?;
    mm.madvise(space, start.raw(), 64 * KIB, Advice::Collapse).map_err(errno)?;
    mm.check_all().unwrap();
    mm.madvise(space, start.raw(), size.bytes(), Advice::Collapse).map_err(errno)
}
