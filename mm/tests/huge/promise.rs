//! Promises of the pool under MADV_DONTNEED: the folio goes, and nobody gets the promise.

use arch::model::{Bounds, Job, explore_runs, run_on_cpus, user_store};
use arch::{Access, VirtAddr};
use mm::Mm;
use mm::config::{HvoStrategy, Mapcount};
use mm::fault::Signal;
use mm::hugetlb::{HugeSize, reserve};
use mm::kalloc::KArc;
use mm::page::FolioRef;
use mm::space::{AddressSpace, Advice, MapFlags, MmapRequest};
use mm::testkit::{Builder, HostEnv, run_as_user};

use crate::common::{RW, counts};

const HUGE: u64 = 2 << 20;
const BASE: u64 = 0x4000_0000;

/// A machine without HVO: it has no part in this.
fn machine() -> Builder {
    Builder::new().ram_mib(8).config(|config| config.hvo = HvoStrategy::Off)
}

fn at(slot: u64) -> VirtAddr {
    VirtAddr::new(BASE + slot * HUGE)
}

/// A pool of `folios`, and a space in which `slots` pages of it are promised and used.
fn used(mm: &Mm, env: &HostEnv, folios: u64, slots: u64) -> KArc<AddressSpace> {
    assert_eq!(mm.hugetlb.set_nr(mm, HugeSize::M2, folios).persistent, folios);
    let space = mm.new_space().unwrap();
    let request = MmapRequest::anonymous(slots * HUGE, RW).with(MapFlags::HUGETLB).fixed(BASE);
    mm.mmap(&space, &request).unwrap();
    (0..slots).for_each(|n| touch(mm, env, &space, n));
    space
}

fn touch(mm: &Mm, env: &HostEnv, space: &KArc<AddressSpace>, n: u64) {
    run_as_user(mm, env, space, || user_store(at(n), n + 1).unwrap());
}

fn discard(mm: &Mm, space: &KArc<AddressSpace>, slots: u64) {
    mm.madvise(space, BASE, slots * HUGE, Advice::DontNeed).unwrap();
}

/// Runs MADV_DONTNEED of a slot, the folio of which so many walkers hold, and a rival on another vCPU in every order
/// with one switch: the rival gets no promise, and the slot's next touch is not refused.
fn explore(walkers: usize) {
    let explored = explore_runs(Bounds { switches: 1, runs: 20_000 }, || {
        machine().boot(|mm, env| {
            let space = used(mm, env, 1, 1);
            let held: Vec<_> = (0..walkers).map(|_| held(mm, &space, 0)).collect();
            let rival = || {
                held.into_iter().for_each(|folio| mm.put_folio(folio));
                assert!(reserve(mm, HugeSize::M2, 1).is_err(), "one folio was promised twice");
            };
            let jobs: Vec<Job<'_>> = vec![Box::new(|| discard(mm, &space, 1)), Box::new(rival)];
            run_on_cpus(jobs);
            assert_eq!(mm.hugetlb.counts(HugeSize::M2), counts(1, 1, 1));
            assert_eq!(mm.hugetlb.set_nr(mm, HugeSize::M2, 0).persistent, 0);
            touch(mm, env, &space, 0);
            mm.destroy_space(&space);
            assert_eq!(mm.hugetlb.set_nr(mm, HugeSize::M2, 0).persistent, 0);
        });
    });
    println!("a DONTNEED and a rival: {explored:?}");
    assert!(explored.complete && explored.runs > 100, "{explored:?}");
}

/// Whatever comes between what, nobody gets a promise out of the folio that a slot gives back.
#[test]
fn nobody_comes_between_a_folio_and_its_promise() {
    explore(0);
}

/// Nor where walkers of physical memory drop the last references to it.
#[test]
fn a_reference_of_a_moment_costs_no_promise() {
    explore(2);
}

/// The folio of a slot, with a reference.
fn held(mm: &Mm, space: &AddressSpace, slot: u64) -> FolioRef {
    let leaf = space.ptl.lock().walk(at(slot)).leaf().unwrap();
    mm.try_get_folio(leaf.desc.output(leaf.level).pfn()).unwrap()
}

/// What a child or a device goes on using does not come back: such a slot gets another promise or, where the pool has
/// nothing to spare, none. Slots beside it keep theirs.
#[test]
fn what_others_use_is_promised_anew_if_it_can_be() {
    for &mapcount in Mapcount::ALL {
        for spare in [0, 2] {
            machine().ram_mib(32).config(|config| config.mapcount = mapcount).boot(|mm, env| {
                let space = used(mm, env, 4 + spare, 4);
                let child = mm.fork_space(&space).unwrap();
                mm.munmap(&child, at(1).raw(), 3 * HUGE).unwrap();
                let pinned = mm.pin_user_pages(&space, at(2), 1, Access::Write).unwrap();
                discard(mm, &space, 4);
                mm.check_all().unwrap();
                assert_eq!(
                    mm.hugetlb.counts(HugeSize::M2),
                    counts(4 + spare, 2 + spare, 2 + spare),
                    "{mapcount}"
                );
                let loose = spare == 0;
                assert_eq!(mm.hugetlb.set_nr(mm, HugeSize::M2, 0).persistent, 0);
                assert_eq!(mm.hugetlb.counts(HugeSize::M2).nr, 4 + spare);
                for (slot, loose) in [(0, loose), (1, false), (2, loose), (3, false)] {
                    let written = mm.write_user(&space, at(slot), &[1]).map_err(|error| error.signal());
                    assert_eq!(
                        written,
                        if loose { Err(Signal::Bus) } else { Ok(()) },
                        "{mapcount}: slot {slot}"
                    );
                }
                mm.check_all().unwrap();
                mm.unpin(pinned);
                mm.destroy_space(&child);
                mm.destroy_space(&space);
                assert_eq!(mm.hugetlb.set_nr(mm, HugeSize::M2, 0).persistent, 0);
            });
        }
    }
}
