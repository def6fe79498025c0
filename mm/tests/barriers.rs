//! Which barriers and TLBIs each change of an entry takes: no fewer than the architecture asks for, and no more.

use arch::contract::{CpuId, Depth};
use arch::features::Features;
use arch::layout::VMALLOC_BASE;
use arch::model::{counters, run_as, user_load, user_store};
use arch::pte::PteFlags;
use arch::{Level, VirtAddr};
use mm::config::ThpMode;
use mm::pgtable::flush::FlushRange;
use mm::space::{MapProt, MmapRequest};
use mm::testkit::{self, Builder, run_as_user, with_space};

const PAGE: u64 = 4096;
const HUGE: u64 = 2 << 20;
const BASE: u64 = 0x10_0000_0000;
const RW: MapProt = MapProt::READ.union(MapProt::WRITE);

/// What was done: descriptors stored, TLBIs broadcast, DSBs, ISBs.
type Cost = (u64, u64, u64, u64);

fn cost(f: impl FnOnce()) -> Cost {
    let before = counters();
    f();
    let spent = counters().since(&before);
    assert_eq!(spent.tlbi_local, 0, "a TLBI that reaches this CPU alone");
    (spent.desc_stores, spent.tlbi_broadcast, spent.dsb, spent.isb)
}

/// A kernel entry that is made takes DSB and ISB and no TLBI (I_WZCBG: what was invalid is not held, but the walker
/// must see the store, and this CPU must not go on with an earlier fault). One that leaves takes DSB, TLBI, DSB and
/// ISB.
#[test]
fn kernel_entries_take_their_barriers() {
    testkit::boot(|mm| {
        let neighbour = mm.alloc_stack(1).unwrap();
        let mut stack = None;
        assert_eq!(cost(|| stack = mm.alloc_stack(1).ok()), (1, 0, 1, 1));
        let stack = stack.unwrap();
        assert_eq!(cost(|| mm.free_stack(stack, 1)), (1, 1, 2, 1));
        mm.free_stack(neighbour, 1);
    });
}

/// A user entry that is made takes one DSB; break, flush and make take DSB, TLBI, DSB and DSB. None takes an ISB: the
/// return to EL0 is one.
#[test]
fn user_entries_take_their_barriers() {
    with_space(&Builder::new().config(|config| config.thp = ThpMode::Never), |mm, _, space| {
        let va = mm.mmap(space, &MmapRequest::anonymous(8 * PAGE, RW)).unwrap();
        user_store(va, 1).unwrap();
        assert_eq!(cost(|| user_store(va.add(PAGE), 1).unwrap()), (1, 0, 1, 0), "make");
        assert_eq!(
            cost(|| assert_eq!(user_load(va.add(2 * PAGE)), Ok(0))),
            (1, 0, 1, 0),
            "make, page of zeros"
        );
        assert_eq!(cost(|| user_store(va.add(2 * PAGE), 1).unwrap()), (2, 1, 3, 0), "break, flush, make");
        assert_eq!(
            cost(|| mm.mprotect(space, va.raw(), PAGE, MapProt::READ).unwrap()),
            (1, 1, 2, 0),
            "mprotect"
        );
        assert_eq!(cost(|| mm.munmap(space, va.raw(), PAGE).unwrap()), (1, 1, 2, 0), "munmap");
    });
}

/// An entry that grants less than its VMA is raised by the fault with DSB, TLBI, DSB: what a TLB holds of it grants too
/// little, and until it is flushed the access may fault again, however often it is tried.
#[test]
fn a_raised_entry_is_flushed() {
    with_space(&Builder::new().config(|config| config.thp = ThpMode::Never), |mm, _, space| {
        let va = mm.mmap(space, &MmapRequest::anonymous(PAGE, RW)).unwrap();
        user_store(va, 5).unwrap();
        mm.gather(space.tag(), |gather| {
            let mut tree = space.ptl.lock();
            let entry = tree.entry(space.flusher(mm), va, Level::L3).unwrap();
            let fewer = entry.desc().with_flags(Level::L3, PteFlags::USER_RO);
            entry.tighten(fewer, gather);
        });
        assert_eq!(cost(|| user_store(va, 6).unwrap()), (1, 1, 2, 0));
        assert_eq!(user_load(va), Ok(6));
    });
}

/// More kernel addresses than single TLBIs are worth, on a CPU that has no TLBI by range: everything is dropped, as
/// kernel entries are global and no ASID names them; fewer are dropped by their range, which the machine takes one by
/// one.
#[test]
fn wide_kernel_flushes_drop_global_entries() {
    Builder::new().features(Features::BASE).boot(|mm, _| {
        let flush = |pages| {
            let (start, end) = (VMALLOC_BASE, VMALLOC_BASE.add(pages * PAGE));
            let range = FlushRange { start, end, level: None, depth: Depth::AllLevels };
            let before = counters();
            mm.with_kernel_tree(|_, flusher| flusher.flush(range));
            let spent = counters().since(&before);
            (spent.tlbi_range, spent.tlbi_asid, spent.tlbi_all)
        };
        assert_eq!(flush(3), (1, 0, 0));
        assert_eq!(flush(511), (1, 0, 0));
        assert_eq!(flush(512), (0, 0, 1));
    });
}

/// Every page of a range that loses its rights or its mapping leaves the TLB of another CPU, the first and the last
/// one too, by TLBIs one by one or by range, where all entries are of one level and where tables leave with them.
#[test]
fn ranges_are_flushed_to_both_ends() {
    let no_range = Features { ttl: true, ..Features::BASE };
    for features in [no_range, Features { tlbi_range: true, ..no_range }] {
        let builder = Builder::new().features(features).config(|config| config.thp = ThpMode::Never);
        with_space(&builder, |mm, env, space| {
            let on_other = |f: &dyn Fn()| {
                run_as(CpuId::new(1), || run_as_user(mm, env, space, f));
            };
            // 300 are more than a gather holds at once, 600 more than a table has.
            for pages in [2, 3, 7, 300, 600] {
                let va = mm.mmap(space, &MmapRequest::anonymous(pages * PAGE, RW).fixed(BASE)).unwrap();
                // Every second one first: neighbours have frames apart, which a gather holds one by one.
                let order = || (0..pages).step_by(2).chain((1..pages).step_by(2));
                let each = |f: &dyn Fn(VirtAddr)| order().for_each(|n| f(va.add(n * PAGE)));
                on_other(&|| each(&|page| user_store(page, 1).unwrap()));
                mm.mprotect(space, va.raw(), pages * PAGE, MapProt::READ).unwrap();
                on_other(&|| each(&|page| assert!(user_store(page, 2).is_err(), "{page} can be written")));
                on_other(&|| each(&|page| assert_eq!(user_load(page), Ok(1))));
                mm.munmap(space, va.raw(), pages * PAGE).unwrap();
                on_other(&|| each(&|page| assert!(user_load(page).is_err(), "{page} can be read")));
            }
        });
    }
}

/// Blocks and pages that leave together are flushed without a hint of the level: with that of either the others
/// would stay in the TLB of another CPU.
#[test]
fn entries_of_two_levels_are_flushed_together() {
    let features = Features { ttl: true, ..Features::BASE };
    let builder = Builder::new().features(features).config(|config| config.thp = ThpMode::Always);
    with_space(&builder, |mm, env, space| {
        // Keeps the tables above: where these leave, too, the range is so wide that everything of the ASID goes.
        let kept = MmapRequest::anonymous(PAGE, RW).fixed(BASE + 16 * HUGE);
        user_store(mm.mmap(space, &kept).unwrap(), 1).unwrap();
        for (base, small) in [(BASE, BASE + HUGE), (BASE - PAGE, BASE - PAGE)] {
            let va = mm.mmap(space, &MmapRequest::anonymous(HUGE + PAGE, RW).fixed(base)).unwrap();
            let places = [VirtAddr::new(BASE), VirtAddr::new(small)];
            let on_other = |f: &dyn Fn(VirtAddr)| {
                run_as(CpuId::new(1), || run_as_user(mm, env, space, || places.into_iter().for_each(f)));
            };
            on_other(&|place| user_store(place, 1).unwrap());
            assert_eq!(mm.usage(space).anon_huge, HUGE / PAGE);
            let before = counters();
            mm.munmap(space, va.raw(), HUGE + PAGE).unwrap();
            assert_eq!(counters().since(&before).tlbi_asid, 1, "513 pages, each of which may have an entry");
            on_other(&|place| assert!(user_load(place).is_err(), "{place} can be read"));
        }
    });
}

/// A CPU that takes up a space under a new ASID waits for the stores of others first, so that a flusher that saw the
/// old ASID need not know of it; under the ASID that it has, a switch takes no barrier.
#[test]
fn a_new_asid_is_ordered_behind_stores() {
    testkit::boot(|mm| {
        let space = mm.new_space().unwrap();
        assert_eq!(cost(|| mm.activate_space(Some(&space))), (0, 0, 1, 0));
        mm.activate_space(None);
        assert_eq!(cost(|| mm.activate_space(Some(&space))), (0, 0, 0, 0));
        mm.activate_space(None);
        mm.destroy_space(&space);
    });
}
