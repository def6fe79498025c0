//! Private mappings of hugetlb objects beside whatever takes pages away: nobody loses a page or a promise.

use std::sync::Mutex;

use arch::contract::Cpu;
use arch::model::{Bounds, Job, explore_runs, run_on_cpus};
use arch::{Access, Machine, VirtAddr};
use mm::Mm;
use mm::config::Mapcount;
use mm::hugetlb::HugeSize;
use mm::kalloc::KArc;
use mm::shmem::Object;
use mm::space::{AddressSpace, Advice};

use crate::common::{counting, counts, grow, machine, map_object, object, of_object, private, read, write};

/// Two spaces, one of them with two threads, write to their private pages, a third to the object's, while the object is
/// truncated, grown and punched: nobody loses a page or a promise.
#[test]
fn writes_and_truncations_at_once() {
    let size = HugeSize::K64;
    for seed in 0..20 {
        let seeded = |desc: &mut arch::model::MachineDesc| desc.seed = seed;
        machine(size).cpus(5).machine(seeded).boot(|mm, _| {
            grow(mm, size, 14);
            let file = object(mm, size, 4);
            let spaces = [mm.new_space().unwrap(), mm.new_space().unwrap(), mm.new_space().unwrap()];
            let requests = [private(size, 0, 4), private(size, 0, 4), of_object(size, 0, 4)];
            let starts = [0, 1, 2].map(|n| map_object(mm, &spaces[n], &file, &requests[n]));
            let (file_ref, spaces_ref) = (&file, &spaces);
            let touch = |n: usize| -> Job<'_> {
                Box::new(move || {
                    for page in (0..4).chain(0..4) {
                        let va = starts[n].add(page * size.bytes() + n as u64);
                        let mut byte = [0];
                        let _ = mm.read_user(&spaces_ref[n], va, &mut byte);
                        let _ = write(mm, &spaces_ref[n], va, 1);
                        Machine::relax();
                    }
                })
            };
            let truncate: Job<'_> = Box::new(move || {
                for pages in [2, 4, 0, 3] {
                    mm.truncate_object(file_ref, pages * size.bytes()).unwrap();
                    mm.punch_object(file_ref, 0..16);
                    Machine::relax();
                }
            });
            run_on_cpus(vec![touch(0), touch(0), touch(1), touch(2), truncate]);
            mm.check_all().unwrap();
            spaces.iter().for_each(|space| mm.destroy_space(space));
            mm.close_object(file);
            assert_eq!(mm.hugetlb.counts(size), counts(14, 14, 0), "seed {seed}");
            grow(mm, size, 0);
        });
    }
}

/// What is done beside; may leave a child.
type Rival = fn(&Mm, &KArc<AddressSpace>, VirtAddr) -> Option<KArc<AddressSpace>>;

/// Runs `rival`, which may leave a child, and a truncation to nothing in every order with one switch, where a private
/// mapping of three pages has its copy of the first, the object the second and nobody the third; afterwards nobody has
/// a page, and no promise is lost.
fn beside_a_truncation(rival: Rival) {
    beside(rival, |mm, file| mm.truncate_object(file, 0).unwrap(), 6);
}

/// The same, beside whatever takes pages out of the object, after which the pool has so many free at least.
fn beside(rival: Rival, take: fn(&Mm, &Object), free: u64) {
    let size = HugeSize::K64;
    let explored = explore_runs(Bounds { switches: 1, runs: 20_000 }, || {
        counting(size, Mapcount::MmOwner).ram_mib(8).boot(|mm, _| {
            grow(mm, size, 6);
            let file = object(mm, size, 3);
            let space = mm.new_space().unwrap();
            let shared = map_object(mm, &space, &file, &of_object(size, 1, 1));
            write(mm, &space, shared, 1).unwrap();
            let start = map_object(mm, &space, &file, &private(size, 0, 3));
            write(mm, &space, start, 1).unwrap();
            assert_eq!(read(mm, &space, start.add(size.bytes())), 1);
            let (space_ref, file_ref, left) = (&space, &file, Mutex::new(None));
            run_on_cpus(vec![
                Box::new(|| *left.lock().unwrap() = rival(mm, space_ref, start)),
                Box::new(|| take(mm, file_ref)),
            ]);
            mm.check_all().unwrap();
            assert!(mm.hugetlb.counts(size).free >= free);
            let child = left.into_inner().unwrap();
            child.iter().chain([&space]).for_each(|space| mm.destroy_space(space));
            mm.close_object(file);
            assert_eq!(mm.hugetlb.counts(size), counts(6, 6, 0));
            grow(mm, size, 0);
        });
    });
    println!("{explored:?}");
    assert!(explored.complete && explored.runs > 100, "{explored:?}");
}

/// Fork hands on a private copy in both spaces or in none.
#[test]
fn a_fork_beside_a_truncation() {
    beside_a_truncation(|mm, space, _| mm.fork_space(space).ok());
}

/// The same, of a pinned copy, of which the child gets another.
#[test]
fn a_fork_of_a_pinned_copy_beside_a_truncation() {
    beside_a_truncation(|mm, space, start| {
        let pinned = mm.pin_user_pages(space, start, 1, Access::Write);
        let child = mm.fork_space(space).ok();
        pinned.map(|pinned| mm.unpin(pinned)).ok();
        child
    });
}

/// A private page is mapped, a copy or one of zeros, or the access is beyond the end.
#[test]
fn a_write_beside_a_truncation() {
    beside_a_truncation(|mm, space, start| {
        for slot in [1, 2] {
            let _ = write(mm, space, start.add(slot * HugeSize::K64.bytes()), 2);
        }
        None
    });
}

/// MADV_DONTNEED of a private mapping while the object loses the page that it reads: no promise is made for that.
#[test]
fn a_discard_beside_a_hole() {
    let discard: Rival = |mm, space, start| {
        mm.madvise(space, start.raw(), 3 * HugeSize::K64.bytes(), Advice::DontNeed).unwrap();
        None
    };
    beside(discard, |mm, file| mm.punch_object(file, 0..48), 5);
}
