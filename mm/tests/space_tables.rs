//! What the calls of an address space do to its tables and frames.

use arch::layout::USER_END;
use arch::model::{counters, user_execute, user_load, user_store};
use arch::pte::PteFlags;
use arch::{Access, Level, Machine, PhysMem, VirtAddr};
use mm::Mm;
use mm::config::{PromotionThreshold, ThpMode};
use mm::fault::FaultReason;
use mm::kalloc::KArc;
use mm::pgtable::visit::visit_leaves;
use mm::space::{AddressSpace, Advice, MapFlags, MapProt, MmapRequest, Usage};
use mm::stats::Counter;
use mm::testkit::{Builder, check, with_space};
use mm::thp::promoter;

const PAGE: u64 = 4096;
const HUGE: u64 = 2 << 20;
const RW: MapProt = MapProt::READ.union(MapProt::WRITE);
const NONE: MapProt = MapProt::empty();

/// A machine without huge pages.
fn small() -> Builder {
    thp(ThpMode::Never)
}

fn thp(mode: ThpMode) -> Builder {
    Builder::new().config(move |config| config.thp = mode)
}

fn map(mm: &Mm, space: &KArc<AddressSpace>, len: u64) -> VirtAddr {
    mm.mmap(space, &MmapRequest::anonymous(len, RW)).unwrap()
}

/// Stores a word of its own in every page.
fn fill(va: VirtAddr, pages: u64) {
    (0..pages).for_each(|n| user_store(va.add(n * PAGE), n + 1).unwrap());
}

/// Entries that map the page of zeros.
fn zeros(mm: &Mm, space: &AddressSpace) -> u64 {
    let mut zeros = 0;
    visit_leaves(space.root(), VirtAddr::new(0), |leaf| {
        zeros += u64::from(mm.zero_page.is_at(leaf.desc.output(leaf.level)));
    });
    zeros
}

/// A read of untouched memory maps the page of zeros, which costs no page and is counted nowhere; a write
/// replaces it by a page of the space's own, and the neighbours stay.
#[test]
fn reads_share_the_page_of_zeros() {
    with_space(&small(), |mm, _, space| {
        let va = map(mm, space, 4 * PAGE);
        assert_eq!(user_load(va), Ok(0));
        let free = mm.free_page_count();
        assert_eq!((user_load(va.add(PAGE)), user_load(va.add(2 * PAGE))), (Ok(0), Ok(0)));
        assert_eq!(mm.free_page_count(), free);
        assert_eq!((mm.usage(space), zeros(mm, space)), (Usage { tables: 4, ..Usage::default() }, 3));
        assert_eq!(mm.stats.get(Counter::NrAnon), 0);
        user_store(va.add(PAGE), 7).unwrap();
        assert_eq!([0, 1, 2].map(|n| user_load(va.add(n * PAGE)).unwrap()), [0, 7, 0]);
        assert_eq!(
            (mm.usage(space), zeros(mm, space)),
            (Usage { anon: 1, tables: 4, ..Usage::default() }, 2)
        );
        assert_eq!((mm.free_page_count(), mm.stats.get(Counter::NrAnon)), (free - 1, 1));
        assert_eq!(
            mm.stats.get(Counter::PteBreak),
            1,
            "the page of zeros is broken before the new one is made"
        );
        let mut zeros = [1; 4096];
        Machine::read_bytes(mm.zero_page.pfn().phys(), &mut zeros);
        assert_eq!(zeros, [0; 4096]);
    });
}

/// PROT_NONE takes the rights away, and keeps what was written and where it lies.
#[test]
fn prot_none_keeps_contents() {
    for mode in [ThpMode::Never, ThpMode::Always] {
        with_space(&thp(mode), |mm, _, space| {
            let va = map(mm, space, HUGE);
            fill(va, 512);
            let usage = mm.usage(space);
            let frame = space.ptl.lock().walk(va).leaf().unwrap().desc.output(Level::L2);
            mm.mprotect(space, va.raw(), HUGE, NONE).unwrap();
            assert!(user_load(va).is_err() && user_store(va, 1).is_err());
            assert_eq!(mm.usage(space), usage);
            check(mm);
            mm.mprotect(space, va.raw(), HUGE, RW).unwrap();
            (0..512).for_each(|n| assert_eq!(user_load(va.add(n * PAGE)), Ok(n + 1)));
            assert_eq!(space.ptl.lock().walk(va).leaf().unwrap().desc.output(Level::L2), frame);
        });
    }
}

/// MADV_DONTNEED frees the pages of the part that it names, which reads as zeros afterwards; the rest stays.
#[test]
fn dontneed_reads_as_zeros() {
    for mode in [ThpMode::Never, ThpMode::Always, ThpMode::Reserve] {
        with_space(&thp(mode), |mm, _, space| {
            let va = map(mm, space, 2 * HUGE);
            fill(va, 1024);
            mm.madvise(space, va.raw() + 256 * PAGE, 512 * PAGE, Advice::DontNeed).unwrap();
            assert_eq!(mm.usage(space).anon, 512, "{mode}");
            check(mm);
            for n in 0..1024 {
                let kept = !(256..768).contains(&n);
                assert_eq!(user_load(va.add(n * PAGE)), Ok(if kept { n + 1 } else { 0 }), "{mode}: page {n}");
            }
        });
    }
}

/// A block that is cut by munmap or mprotect is split: the part goes or changes, the rest keeps its contents.
#[test]
fn blocks_are_cut() {
    with_space(&thp(ThpMode::Always), |mm, _, space| {
        let va = map(mm, space, 2 * HUGE);
        fill(va, 1024);
        assert_eq!(mm.usage(space), Usage { anon: 1024, anon_huge: 1024, tables: 3, ..Usage::default() });
        mm.munmap(space, va.raw() + 3 * PAGE, 2 * PAGE).unwrap();
        mm.mprotect(space, va.raw() + HUGE + HUGE / 2, PAGE, MapProt::READ).unwrap();
        assert_eq!(mm.usage(space), Usage { anon: 1022, tables: 5, ..Usage::default() });
        assert_eq!(mm.stats.get(Counter::ThpSplitPmd), 2);
        check(mm);
        for n in (0..1024).filter(|n| !(3..5).contains(n)) {
            assert_eq!(user_load(va.add(n * PAGE)), Ok(n + 1));
        }
        assert!(user_load(va.add(3 * PAGE)).is_err());
        assert!(user_store(va.add(HUGE + HUGE / 2), 0).is_err());
        user_store(va.add(HUGE + HUGE / 2 + PAGE), 0).unwrap();
    });
}

/// Tables leave with the last page that they map, level by level.
#[test]
fn empty_tables_are_freed() {
    with_space(&small(), |mm, _, space| {
        let bytes = 4 << 30;
        let va = mm.mmap(space, &MmapRequest::anonymous(bytes, RW).with(MapFlags::NORESERVE)).unwrap();
        let far = va.add((1 << 30) + 5 * HUGE);
        for at in [va, va.add(PAGE), va.add(HUGE), far] {
            user_store(at, 1).unwrap();
        }
        let tables = || mm.usage(space).tables;
        assert_eq!(tables(), 1 + 1 + 2 + 3);
        mm.madvise(space, va.raw(), PAGE, Advice::DontNeed).unwrap();
        assert_eq!(tables(), 7, "a table that still maps a page stays");
        mm.madvise(space, va.raw() + PAGE, PAGE, Advice::DontNeed).unwrap();
        assert_eq!(tables(), 6);
        mm.madvise(space, far.raw(), PAGE, Advice::DontNeed).unwrap();
        assert_eq!(tables(), 4, "its level-2 table goes too");
        mm.munmap(space, va.raw(), bytes).unwrap();
        assert_eq!(tables(), 1);
        assert_eq!(mm.stats.get(Counter::NrAnon), 0);
    });
}

/// The time of a call follows what is mapped, not how wide the range is: a few pages in 64 TiB are unmapped
/// with a handful of stores, and the walk over the rest is short enough for a test.
#[test]
fn wide_ranges_are_cheap() {
    with_space(&small(), |mm, _, space| {
        let bytes = 64 << 40;
        let va = mm.mmap(space, &MmapRequest::anonymous(bytes, RW).with(MapFlags::NORESERVE)).unwrap();
        for at in [0, (bytes / 3) & !7, bytes - PAGE] {
            user_store(va.add(at), 1).unwrap();
        }
        mm.mprotect(space, va.raw(), bytes, MapProt::READ).unwrap();
        let stores = mm.stats.get(Counter::PteStore);
        mm.munmap(space, 0, USER_END.raw()).unwrap();
        assert!(mm.stats.get(Counter::PteStore) - stores <= 3 * 4, "a page and its tables");
    });
}

/// MAP_POPULATE leaves nothing to fault: written pages where the mapping can be written, the page of zeros
/// elsewhere, nothing where nothing may be accessed.
#[test]
fn populate_faults_everything_in() {
    with_space(&small(), |mm, _, space| {
        let populated = |prot| MmapRequest::anonymous(16 * PAGE, prot).with(MapFlags::POPULATE);
        let va = mm.mmap(space, &populated(RW)).unwrap();
        assert_eq!(mm.usage(space).anon, 16);
        let faults = mm.stats.get(Counter::PgFault);
        fill(va, 16);
        assert_eq!(mm.stats.get(Counter::PgFault), faults);
        mm.mmap(space, &populated(MapProt::READ)).unwrap();
        assert_eq!(zeros(mm, space), 16);
        mm.mmap(space, &populated(NONE)).unwrap();
        assert_eq!((mm.usage(space).anon, zeros(mm, space)), (16, 16));
    });
    with_space(&thp(ThpMode::Always), |mm, _, space| {
        let request = MmapRequest::anonymous(3 * HUGE, RW).with(MapFlags::POPULATE);
        mm.mmap(space, &request).unwrap();
        assert_eq!(mm.usage(space).anon_huge, 3 * 512);
        assert_eq!(mm.stats.get(Counter::PgFault), 3);
    });
}

/// A mapping that does not fit into RAM is populated as far as memory goes, and the rest can still be refused
/// cleanly.
#[test]
fn populate_stops_when_memory_is_out() {
    with_space(&small().ram_mib(16), |mm, _, space| {
        let pages = mm.free_page_count() + 100;
        let request = MmapRequest::anonymous(pages * PAGE, RW).with(MapFlags::POPULATE | MapFlags::NORESERVE);
        let va = mm.mmap(space, &request).unwrap();
        assert!(mm.usage(space).anon > pages / 2);
        assert!(user_store(va.add((pages - 1) * PAGE), 1).is_err());
        check(mm);
        mm.munmap(space, va.raw(), pages * PAGE).unwrap();
        let va = map(mm, space, PAGE);
        assert_eq!(user_store(va, 1), Ok(()));
    });
}

/// When memory is out, unused pages of reservations are taken back before a fault fails.
#[test]
fn reservations_yield_to_faults() {
    with_space(&thp(ThpMode::Reserve).ram_mib(16), |mm, _, space| {
        let reserved = map(mm, space, HUGE);
        user_store(reserved, 1).unwrap();
        assert_eq!(mm.stats.get(Counter::NrThpReserved), 511);
        mm.thp.set_mode(ThpMode::Never);
        let pages = mm.free_page_count() + 300;
        let va = mm.mmap(space, &MmapRequest::anonymous(pages * PAGE, RW).with(MapFlags::NORESERVE)).unwrap();
        (0..pages - 10).for_each(|n| user_store(va.add(n * PAGE), n).unwrap());
        assert_eq!(mm.stats.get(Counter::NrThpReserved), 0);
        assert_eq!(user_load(reserved), Ok(1));
    });
}

/// Walk A, without a kernel: the first write reserves, each fault takes its page, the last one of the
/// threshold submits, and the promoter makes the block in place.
#[test]
fn fault_reservation_promotion() {
    let threshold = |config: &mut mm::config::MmConfig| {
        config.promotion_threshold = PromotionThreshold::new(64).unwrap();
    };
    with_space(&Builder::new().config(threshold), |mm, _, space| {
        let va = map(mm, space, HUGE);
        user_load(va.add(HUGE - PAGE)).unwrap();
        fill(va, 63);
        assert_eq!(promoter::drain(mm), 0);
        let first = space.ptl.lock().walk(va).leaf().unwrap();
        assert_eq!(first.level, Level::L3);
        user_store(va.add(63 * PAGE), 64).unwrap();
        assert_eq!(promoter::drain(mm), 1);
        let block = space.ptl.lock().walk(va).leaf().unwrap();
        assert_eq!((block.level, block.desc.output(Level::L2)), (Level::L2, first.desc.output(Level::L3)));
        assert_eq!(mm.usage(space), Usage { anon: 512, anon_huge: 512, tables: 3, ..Usage::default() });
        (0..512).for_each(|n| assert_eq!(user_load(va.add(n * PAGE)), Ok(if n < 64 { n + 1 } else { 0 })));
        check(mm);
    });
}

/// An entry with fewer rights than its VMA is raised by the fault, page or block, and keeps its frame.
#[test]
fn a_fault_raises_rights() {
    for (mode, level) in [(ThpMode::Never, Level::L3), (ThpMode::Always, Level::L2)] {
        with_space(&thp(mode), |mm, _, space| {
            let va = map(mm, space, HUGE);
            user_store(va, 5).unwrap();
            mm.gather(space.tag(), |gather| {
                let mut tree = space.ptl.lock();
                let entry = tree.entry(space.flusher(mm), va, level).unwrap();
                let old = entry.desc();
                entry.tighten(old.with_flags(level, PteFlags::USER_RO), gather);
            });
            let faults = mm.stats.get(Counter::PgFault);
            assert_eq!(user_load(va), Ok(5));
            user_store(va, 6).unwrap();
            assert_eq!((user_load(va), mm.stats.get(Counter::PgFault)), (Ok(6), faults + 1));
            assert_eq!(mm.stats.get(Counter::PgFaultSpurious), 0);
        });
    }
}

/// Code is written through a writable mapping and run through an executable one; the two are never one.
#[test]
fn code_is_written_and_then_run() {
    with_space(&small(), |mm, _, space| {
        let va = map(mm, space, 2 * PAGE);
        mm.write_user(space, va.add(PAGE - 2), &[1, 2, 3, 4]).unwrap();
        assert!(user_execute(va).is_err());
        mm.mprotect(space, va.raw(), 2 * PAGE, MapProt::READ | MapProt::EXEC).unwrap();
        assert_eq!(user_execute(va), Ok(()));
        let mut bytes = [0; 6];
        mm.read_user(space, va.add(PAGE - 3), &mut bytes).unwrap();
        assert_eq!(bytes, [0, 1, 2, 3, 4, 0]);
        let error = mm.write_user(space, va, &[0]).unwrap_err();
        assert_eq!((error.reason, error.info.access), (FaultReason::Rights, Access::Write));
    });
}

/// Reading and writing works on a space that is active nowhere, faults pages in, and stops at what is not
/// mapped.
#[test]
fn access_to_an_inactive_space() {
    with_space(&small(), |mm, _, space| {
        mm.activate_space(None);
        let va = map(mm, space, 3 * PAGE);
        let bytes: Vec<u8> = (0..2 * PAGE).map(|n| n as u8).collect();
        mm.write_user(space, va.add(10), &bytes).unwrap();
        let mut back = vec![0; bytes.len()];
        mm.read_user(space, va.add(10), &mut back).unwrap();
        assert_eq!(back, bytes);
        let error = mm.write_user(space, va.add(3 * PAGE - 1), &[1, 2]).unwrap_err();
        assert_eq!((error.reason, error.info.va), (FaultReason::NoVma, va.add(3 * PAGE)));
        let error = mm.read_user(space, VirtAddr::new(u64::MAX - 3), &mut [0; 8]).unwrap_err();
        assert_eq!(error.reason, FaultReason::NotUserAddress);
        let words = error.to_string();
        assert!(words.starts_with("kernel read of 0xfffffffffffffffc: not a user address"), "{words}");
    });
}

/// A flush follows the size of what changed: one page, one TLBI; a wide range, one for the ASID.
#[test]
fn flushes_are_batched() {
    with_space(&small().machine(|desc| desc.features.tlbi_range = false), |mm, _, space| {
        let va = map(mm, space, 1024 * PAGE);
        fill(va, 1024);
        let tlbis = |call: &dyn Fn()| {
            let before = (mm.stats.get(Counter::TlbiVa), mm.stats.get(Counter::TlbiAsid));
            call();
            let after = (mm.stats.get(Counter::TlbiVa), mm.stats.get(Counter::TlbiAsid));
            (after.0 - before.0, after.1 - before.1)
        };
        assert_eq!(tlbis(&|| mm.mprotect(space, va.raw(), PAGE, MapProt::READ).unwrap()), (1, 0));
        assert_eq!(tlbis(&|| mm.mprotect(space, va.raw(), 1024 * PAGE, NONE).unwrap()), (0, 1));
        assert_eq!(tlbis(&|| mm.mprotect(space, va.raw(), 1024 * PAGE, NONE).unwrap()), (0, 0));
        assert_eq!(counters().tlbi_unordered, 0, "every TLBI comes after a DSB that follows its stores");
    });
}
