//! Memory of the pools that fails while nobody uses it, and failures while memory is short.

use arch::addr::PAGE_SIZE;
use mm::Mm;
use mm::config::HvoStrategy;
use mm::fault::FaultReason;
use mm::hugetlb::HugeSize;
use mm::hugetlb::poison::Outcome;
use mm::kalloc::inject;
use mm::page::{PageKind, page_of};
use mm::report::frames::kpf;
use mm::space::{Advice, MapFlags, MmapRequest};

use crate::poison_kit::*;

/// A free folio leaves its pool, at its head, its tail or in between, with its struct pages optimised or not.
#[test]
fn a_free_folio_leaves_the_pool() {
    for size in SMALL {
        for hvo in [HvoStrategy::Off, HvoStrategy::Auto] {
            for n in [0, 1, size.order().pages() / 2, size.order().pages() - 1] {
                machine(size).config(|config| config.hvo = hvo).boot(|mm, _| {
                    let free = mm.free_page_count();
                    grow(mm, size, 2);
                    let space = mm.new_space().unwrap();
                    let start = mm.mmap(&space, &private(size, 1)).unwrap();
                    write(mm, &space, start, 1).unwrap();
                    let pfn = frame(mm, &space, start).add(n);
                    mm.destroy_space(&space);
                    assert_eq!(mm.hugetlb.counts(size), counts(2, 2, 0));
                    assert_eq!(mm.memory_failure(pfn), Ok(Outcome::Retired), "{size} {n}");
                    assert!(is_retired(pfn));
                    assert_eq!(kpageflags(mm, pfn) & (kpf::HWPOISON | kpf::HUGE), kpf::HWPOISON);
                    assert_eq!(mm.hugetlb.counts(size), counts(1, 1, 0));
                    assert_eq!(mm.memory_failure(pfn), Ok(Outcome::Known));
                    mm.check_all().unwrap();
                    grow(mm, size, 0);
                    mm.check_all().unwrap();
                    assert_missing(mm, free, 1);
                    mm.drain_cpu_lists();
                    let all: Vec<_> =
                        std::iter::from_fn(|| mm.alloc_pages(arch::Order::PAGE, PageKind::Kernel).ok())
                            .collect();
                    assert!(all.iter().all(|page| page.pfn() != pfn), "a failed frame was given out");
                    all.into_iter().for_each(|page| mm.put_folio(page));
                    mm.check_all().unwrap();
                });
            }
        }
    }
}

/// A promised folio is replaced by a new one: the promise is kept. Where there is no memory for one it stays for the
/// promise, the fault is SIGBUS, and succeeds when there is memory again.
#[test]
fn promises_outlive_their_folios() {
    for size in [HugeSize::K64, HugeSize::M2] {
        for short in [false, true] {
            machine(size).boot(|mm, _| {
                grow(mm, size, 2);
                let space = mm.new_space().unwrap();
                let probe = mm.mmap(&space, &private(size, 2)).unwrap();
                let pfns = [0, 1].map(|n| {
                    write(mm, &space, probe.add(n * size.bytes()), 1).unwrap();
                    frame(mm, &space, probe.add(n * size.bytes()))
                });
                mm.madvise(&space, probe.raw(), 2 * size.bytes(), Advice::DontNeed).unwrap();
                assert_eq!(mm.hugetlb.counts(size), counts(2, 2, 2));
                let mut hoard = Vec::new();
                while short && let Ok(page) = mm.alloc_pages(arch::Order::PAGE, PageKind::Kernel) {
                    hoard.push(page);
                }
                let outcome = mm.memory_failure(pfns[1]);
                assert_eq!(outcome, Ok(if short { Outcome::Waiting } else { Outcome::Retired }), "{size}");
                mm.check_all().unwrap();
                assert_eq!(mm.hugetlb.counts(size), counts(2, 2, 2));
                if short {
                    assert_eq!(kpageflags(mm, pfns[1]) & kpf::HWPOISON, kpf::HWPOISON);
                    assert_eq!(mm.memory_failure(pfns[1]), Ok(Outcome::Known));
                }
                assert_eq!(write(mm, &space, probe, 1), Ok(()), "the other one is good");
                let next = probe.add(size.bytes());
                if short {
                    assert_eq!(write(mm, &space, next, 1), Err(FaultReason::HugetlbEmpty));
                    assert_eq!(mm.hugetlb.counts(size), counts(2, 1, 1));
                    mm.check_all().unwrap();
                }
                hoard.into_iter().for_each(|page| mm.put_folio(page));
                assert_eq!(write(mm, &space, next, 1), Ok(()));
                assert_ne!(frame(mm, &space, next), pfns[1]);
                assert!(is_retired(pfns[1]));
                mm.check_all().unwrap();
                mm.destroy_space(&space);
                assert_eq!(mm.hugetlb.counts(size), counts(2, 2, 0));
                grow(mm, size, 0);
            });
        }
    }
}

/// The same of what an object was promised, and a private mapping of one: while there is no memory for another folio
/// the touch is SIGBUS, the promise stands, and the next touch has it.
#[test]
fn promises_on_lists_outlive_their_folios() {
    let size = HugeSize::K64;
    for flags in [MapFlags::SHARED, MapFlags::PRIVATE] {
        machine(size).boot(|mm, _| {
            grow(mm, size, 1);
            let space = mm.new_space().unwrap();
            let probe = mm.mmap(&space, &private(size, 1)).unwrap();
            write(mm, &space, probe, 1).unwrap();
            let pfn = frame(mm, &space, probe);
            mm.munmap(&space, probe.raw(), size.bytes()).unwrap();
            let file = object(mm, size, 1);
            let start = mm.mmap_object(&space, &MmapRequest { flags, ..shared(size, 1) }, &file).unwrap();
            let mut hoard = Vec::new();
            while let Ok(page) = mm.alloc_pages(arch::Order::PAGE, PageKind::Kernel) {
                hoard.push(page);
            }
            // Enough for page tables, but no two in a row.
            let (free, mut hoard): (Vec<_>, Vec<_>) =
                hoard.into_iter().partition(|page| page.pfn().raw() % 2 != 0);
            free.into_iter().for_each(|page| mm.put_folio(page));
            while let Ok(block) = mm.alloc_pages(size.order(), PageKind::Kernel) {
                hoard.push(block);
            }
            assert_eq!(mm.memory_failure(pfn), Ok(Outcome::Waiting), "{flags:?}");
            for _ in 0..2 {
                assert_eq!(write(mm, &space, start, 1), Err(FaultReason::HugetlbEmpty), "{flags:?}");
                assert_eq!(mm.hugetlb.counts(size), counts(1, 1, 1), "{flags:?}");
                mm.check_all().unwrap();
            }
            hoard.into_iter().for_each(|page| mm.put_folio(page));
            assert_eq!(write(mm, &space, start, 1), Ok(()));
            assert_eq!(mm.hugetlb.counts(size), counts(1, 0, 0));
            assert!(is_retired(pfn) && frame(mm, &space, start) != pfn);
            mm.check_all().unwrap();
            mm.destroy_space(&space);
            mm.close_object(file);
            grow(mm, size, 0);
        });
    }
}

/// Whatever allocation fails, a failure of memory is handled: the frame is out of use at the end, with its folio where
/// nobody could note which it was, and everything adds up at each step.
#[test]
fn memory_failure_needs_no_memory() {
    for size in [HugeSize::K64, HugeSize::M2] {
        for kind in 0..3 {
            for failing in [inject::Failing::Once, inject::Failing::Onwards] {
                let mut k = 0;
                loop {
                    k += 1;
                    let mut failed = true;
                    machine(size).boot(|mm, _| failed = fail_one(mm, size, kind, (k, failing)));
                    if !failed {
                        break;
                    }
                }
                assert!(k > 1, "{size} {kind}: nothing was allocated");
            }
        }
    }
}

/// A free folio, one of an object, or a promised one. Whether an allocation failed.
fn fail_one(mm: &Mm, size: HugeSize, kind: usize, (k, failing): (u64, inject::Failing)) -> bool {
    grow(mm, size, 2);
    let space = mm.new_space().unwrap();
    let file = object(mm, size, 1);
    let start = mm.mmap_object(&space, &shared(size, 1), &file).unwrap();
    write(mm, &space, start, 1).unwrap();
    let pfn = frame(mm, &space, start.add(PAGE_SIZE));
    let promised = private(size, 2 - 1);
    match kind {
        0 => mm.punch_object(&file, 0..size.order().pages()),
        1 => {}
        _ => {
            mm.punch_object(&file, 0..size.order().pages());
            mm.mmap(&space, &promised).unwrap();
            mm.mmap_object(&space, &shared(size, 1), &file).unwrap();
        }
    }
    inject::fail(k, failing);
    let outcome = mm.memory_failure(pfn).unwrap();
    let failed = inject::disarm();
    assert_ne!(outcome, Outcome::Known);
    mm.check_all().unwrap();
    let all = size.order().pages();
    assert!([1, all].contains(&mm.failed_frames()), "{size} {kind} {k}: {}", mm.failed_frames());
    assert_eq!(kpageflags(mm, pfn) & kpf::HWPOISON, kpf::HWPOISON);
    mm.destroy_space(&space);
    mm.close_object(file);
    grow(mm, size, 0);
    mm.check_all().unwrap();
    assert!(page_of(pfn).head(mm.config.tails).kind() == PageKind::Failed, "{size} {kind} {k}: {outcome:?}");
    assert!(mm.memory_failure(pfn) == Ok(Outcome::Known));
    failed
}
