//! khugepaged: what it collapses, each limit by its name, where it goes on, and who comes between.

use super::review::in_pieces;
use super::*;
use crate::config::{Mapcount, Number, ThpMode};
use crate::page::page_of;
use crate::rmap::{self, Exit};
use crate::space::{Advice, Errno};
use crate::testkit::{check, run_on_cpus};
use crate::thp::{ThpPermission, khugepaged};

/// As many pages as there are in all ranges of a site, and the end of its VMA.
const ALL: u64 = RANGES * RANGE_PAGES + 8;

fn mode(thp: ThpMode) -> Builder {
    threshold(512).config(move |config| config.thp = thp)
}

fn set(mm: &Mm, number: Number, value: u64) {
    mm.thp.set_number(number, &value.to_string()).unwrap();
}

impl Site<'_> {
    fn scan(&self) -> u64 {
        khugepaged::scan(self.mm, ALL)
    }
    fn range(&self, n: u64) -> std::ops::Range<u64> {
        n * RANGE_PAGES..(n + 1) * RANGE_PAGES
    }
}

/// Ranges of small pages become huge, whatever is missing of them, and hold what they held; what nobody has touched
/// stays untouched, and a second scan finds nothing more to do.
#[test]
fn small_pages_become_huge() {
    with_site(mode(ThpMode::Defer), |site| {
        site.store_all(site.range(0));
        site.store_all([RANGE_PAGES, RANGE_PAGES + 300]);
        assert!(!site.is_block(0), "no huge page at a fault");
        assert_eq!(site.scan(), 2);
        assert!(site.is_block(0) && site.is_block(RANGE_PAGES));
        assert_eq!(site.leaf(2 * RANGE_PAGES), None);
        site.assert_contents(|_| true);
        assert_eq!(site.load(RANGE_PAGES + 300), (word(RANGE_PAGES + 300), 0));
        assert_eq!((site.get(Counter::NrAnon), site.get(Counter::NrAnonThp)), (2 * RANGE_PAGES, 2));
        assert_eq!((khugepaged::full_scans(site.mm), khugepaged::pages_collapsed(site.mm)), (1, 2));
        assert_eq!(site.get(Counter::ThpCollapseAlloc), 2);
        assert_eq!(site.scan(), 0);
        assert_eq!((khugepaged::full_scans(site.mm), site.get(Counter::ThpCollapseFailed)), (2, 0));
    });
}

/// Which memory it collapses, by mode, advice and permission.
#[test]
fn modes_and_advice() {
    use Advice::{HugePage, NoHugePage};
    use ThpMode::{Always, Defer, Madvise, Never, Reserve};
    let small = Some(NoHugePage);
    for (thp, advice, collapses) in [
        (Always, None, 1),
        (Always, small, 0),
        (Defer, None, 1),
        (Defer, Some(HugePage), 1),
        (Defer, small, 0),
        (Madvise, None, 0),
        (Madvise, Some(HugePage), 1),
        (Madvise, small, 0),
        (Never, Some(HugePage), 0),
        (Reserve, None, 1),
        (Reserve, Some(HugePage), 1),
        (Reserve, small, 0),
    ] {
        with_site(mode(Never), |site| {
            site.store_all(site.range(0));
            if let Some(advice) = advice {
                site.mm.madvise(&site.space, BASE.raw(), RANGES * RANGE_BYTES, advice).unwrap();
            }
            site.mm.thp.set_mode(thp);
            site.mm.set_thp_permission(&site.space, ThpPermission::Withheld);
            assert_eq!(site.scan(), 0, "{thp} {advice:?}: the process may not have huge pages");
            site.mm.set_thp_permission(&site.space, ThpPermission::Advised);
            let advised = if advice == Some(HugePage) { collapses } else { 0 };
            assert_eq!(site.scan(), advised, "{thp} {advice:?}: where it was advised");
            site.mm.set_thp_permission(&site.space, ThpPermission::Granted);
            assert_eq!(site.scan(), collapses - advised, "{thp} {advice:?}");
        });
    }
}

/// A heap that grows by 64 KiB at a time: none of its ranges fits its VMA at its first write, and each has pages when it
/// does, so nothing is reserved. Beside reservations khugepaged makes the huge pages that promotion would have made.
#[test]
fn a_growing_heap_becomes_huge() {
    with_site(threshold(64), |site| {
        let (at, step) = (8 * RANGE_PAGES, 16);
        for n in 0..2 * RANGE_PAGES / step {
            let request = MmapRequest::anonymous(step * PAGE_SIZE, MapProt::READ | MapProt::WRITE);
            site.mm.mmap(&site.space, &request.fixed(va(at + n * step).raw())).unwrap();
            site.store_all((at + n * step..at + (n + 1) * step).filter(|page| page % step < 4));
            site.drain();
        }
        let heap = site.space.vma_at(va(at)).unwrap();
        assert_eq!((heap.start, heap.bytes()), (va(at), 2 * RANGE_BYTES));
        let huge = || [0, 1].map(|range| site.is_block(at + range * RANGE_PAGES));
        assert_eq!((site.get(Counter::ThpResAlloc), huge()), (0, [false; 2]));
        assert_eq!((khugepaged::scan(site.mm, 1 << 20), huge()), (2, [true; 2]));
        for page in (at..at + 2 * RANGE_PAGES).filter(|page| page % step < 4) {
            assert_eq!(site.load(page), (word(page), 0));
        }
        site.mm.munmap(&site.space, va(at).raw(), 2 * RANGE_BYTES).unwrap();
    });
}

/// Beside reservations a range becomes huge by as many pages as promotion asks for, or more where `max_ptes_none` says
/// so; one that has a reservation is left to promotion.
#[test]
fn beside_reservations_the_threshold_decides() {
    for (populated, most_none, collapses) in
        [(99, 511, 0), (100, 511, 1), (110, 401, 0), (111, 401, 1), (511, 0, 0)]
    {
        with_site(threshold(100), |site| {
            set(site.mm, Number::MaxPtesNone, most_none);
            site.mm.thp.set_mode(ThpMode::Never);
            site.store_all(0..populated);
            site.mm.thp.set_mode(ThpMode::Reserve);
            site.store_all(RANGE_PAGES..RANGE_PAGES + 150);
            assert_eq!(site.scan(), collapses, "{populated} pages, at most {most_none} missing");
            assert_eq!(site.get(Counter::ThpResBroken), 0);
            site.assert_contents(|page| page < populated);
            assert_eq!((site.drain(), site.is_block(RANGE_PAGES)), (1, true));
        });
    }
}

/// MADV_COLLAPSE is advice enough where only advised memory may be huge; where the process or the VMA may not have huge
/// pages at all it is EINVAL.
#[test]
fn madv_collapse_and_permission() {
    use ThpPermission::{Advised, Granted, Withheld};
    for (permission, advice, allowed) in [
        (Granted, Advice::HugePage, true),
        (Granted, Advice::NoHugePage, false),
        (Advised, Advice::Normal, true),
        (Advised, Advice::NoHugePage, false),
        (Withheld, Advice::HugePage, false),
    ] {
        with_site(mode(ThpMode::Never), |site| {
            site.store(0);
            site.mm.madvise(&site.space, BASE.raw(), RANGE_BYTES, advice).unwrap();
            site.mm.set_thp_permission(&site.space, permission);
            let collapsed = site.mm.madvise(&site.space, BASE.raw(), RANGE_BYTES, Advice::Collapse);
            let expected = if allowed { Ok(()) } else { Err(Errno::Inval) };
            assert_eq!(collapsed.map_err(|error| error.errno()), expected, "{permission:?} {advice:?}");
            assert_eq!(site.is_block(0), allowed);
        });
    }
}

/// `max_ptes_none`: as many pages may be missing, or be the page of zeros, and no more.
#[test]
fn max_ptes_none() {
    for (most, stored, read, collapses) in [
        (511, 1, 0, 1),
        (510, 1, 0, 0),
        (510, 2, 0, 1),
        (0, 512, 0, 1),
        (0, 511, 0, 0),
        (0, 511, 1, 0),
        (100, 412, 50, 1),
        (100, 411, 50, 0),
    ] {
        with_site(mode(ThpMode::Defer), |site| {
            set(site.mm, Number::MaxPtesNone, most);
            site.store_all(0..stored);
            (stored..stored + read).for_each(|page| assert_eq!(site.load(page), (0, 0)));
            assert_eq!(site.scan(), collapses, "{stored} pages, {read} of zeros, at most {most} missing");
            assert_eq!(site.get(Counter::ThpScanExceedNone), 1 - collapses);
            assert_eq!(site.get(Counter::ThpCollapseFailed), 0);
        });
    }
}

/// A range of nothing but the page of zeros never becomes huge, whatever the limits are.
#[test]
fn zeros_alone_stay_small() {
    with_site(mode(ThpMode::Defer), |site| {
        site.range(0).for_each(|page| assert_eq!(site.load(page), (0, 0)));
        let free = site.mm.free_page_count();
        assert_eq!(site.scan(), 0);
        assert_eq!((site.mm.free_page_count(), site.get(Counter::ThpScanExceedNone)), (free, 1));
    });
}

/// `max_ptes_shared`: as many pages may be a child's too, and no more; what is collapsed is a copy, and the child keeps
/// its own.
#[test]
fn max_ptes_shared() {
    for (most, written, collapses) in [(256, 256, 1), (255, 256, 0), (0, 511, 0), (0, 512, 1), (512, 0, 1)] {
        for scheme in [Mapcount::MmOwner, Mapcount::RfcV2] {
            with_site(mode(ThpMode::Defer).config(|config| config.mapcount = scheme), |site| {
                set(site.mm, Number::MaxPtesShared, most);
                site.store_all(site.range(0));
                let child = site.mm.fork_space(&site.space).unwrap();
                site.store_all(0..written);
                site.mm.set_thp_permission(&child, ThpPermission::Withheld);
                assert_eq!(site.scan(), collapses, "{scheme}: {written} of 512 written, at most {most}");
                assert_eq!(site.get(Counter::ThpScanExceedShared), 1 - collapses);
                site.assert_contents(|_| true);
                site.store(400);
                let mut bytes = [0; 8];
                site.mm.read_user(&child, va(400), &mut bytes).unwrap();
                assert_eq!(u64::from_le_bytes(bytes), word(400));
                site.mm.destroy_space(&child);
            });
        }
    }
}

/// A range that nobody has accessed since the access flags were cleared is left, until somebody does.
#[test]
fn unreferenced_ranges_stay_small() {
    with_site(mode(ThpMode::Defer), |site| {
        site.store_all(site.range(0));
        for page in site.range(0) {
            let head = page_of(site.leaf(page).unwrap().1.pfn());
            assert_eq!(rmap::folio_referenced(site.mm, head, Exit::Never).looked_at, 1);
        }
        assert_eq!(site.scan(), 0);
        assert_eq!(site.load(77), (word(77), 0));
        assert_eq!(site.scan(), 1);
    });
}

/// A page that is held otherwise than by its entry, a page of a reservation too, keeps its range small while it is.
#[test]
fn held_pages_stay() {
    with_site(mode(ThpMode::Defer), |site| {
        site.store_all(site.range(0));
        let held = page_of(site.leaf(9).unwrap().1.pfn()).try_get().unwrap();
        assert_eq!(site.scan(), 0);
        site.mm.put_folio(held);
        site.mm.thp.set_mode(ThpMode::Reserve);
        site.store_all(RANGE_PAGES..RANGE_PAGES + 3);
        site.mm.thp.set_mode(ThpMode::Defer);
        assert_eq!((site.scan(), site.get(Counter::ThpResBroken)), (1, 0), "reservations are left alone");
        assert!(site.is_block(0) && !site.is_block(RANGE_PAGES));
    });
}

/// `pages_to_scan`: a range counts 512, whatever it holds; the next scan goes on where the last has stopped, and after
/// the last range the first one comes again.
#[test]
fn a_scan_ends_with_its_pages() {
    with_site(mode(ThpMode::Defer), |site| {
        site.store_all((0..RANGES).map(|n| n * RANGE_PAGES));
        for n in 0..RANGES {
            assert_eq!(khugepaged::scan(site.mm, if n % 2 == 0 { 1 } else { RANGE_PAGES }), 1);
            let blocks = (0..RANGES).filter(|&n| site.is_block(n * RANGE_PAGES)).count() as u64;
            assert!(site.is_block(n * RANGE_PAGES) && blocks == n + 1, "{blocks} blocks after scan {n}");
            assert_eq!(khugepaged::full_scans(site.mm), 0);
        }
        site.mm.madvise(&site.space, BASE.raw(), RANGE_BYTES, Advice::DontNeed).unwrap();
        site.store(3);
        assert_eq!(khugepaged::scan(site.mm, 2), 1, "the end costs a page, the first range comes next");
        assert_eq!(khugepaged::full_scans(site.mm), 1);
    });
}

/// VMAs that may not be collapsed, or hold no range, cost a page each.
#[test]
fn a_vma_that_is_passed_over_costs_a_page() {
    with_site(mode(ThpMode::Defer), |site| {
        for n in 0..10 {
            let request = MmapRequest::anonymous(PAGE_SIZE, MapProt::READ);
            site.mm.mmap(&site.space, &request.fixed(0x1000_0000 + n * 2 * PAGE_SIZE)).unwrap();
        }
        site.store(0);
        assert_eq!(khugepaged::scan(site.mm, 10), 0);
        assert_eq!(khugepaged::scan(site.mm, 1), 1);
    });
}

/// MADV_COLLAPSE knows none of the limits.
#[test]
fn madv_collapse_ignores_the_limits() {
    with_site(mode(ThpMode::Defer), |site| {
        set(site.mm, Number::MaxPtesNone, 0);
        set(site.mm, Number::MaxPtesShared, 0);
        site.store_all(0..3);
        let child = site.mm.fork_space(&site.space).unwrap();
        let head = page_of(site.leaf(0).unwrap().1.pfn());
        rmap::folio_referenced(site.mm, head, Exit::Never);
        assert_eq!(site.scan(), 0);
        site.mm.madvise(&site.space, BASE.raw(), RANGE_BYTES, Advice::Collapse).unwrap();
        assert!(site.is_block(0));
        site.assert_contents(|page| page < 3);
        site.mm.destroy_space(&child);
    });
}

/// A VMA without any aligned 2 MiB cannot be collapsed by MADV_COLLAPSE; a part of one that can is nothing to do.
#[test]
fn madv_collapse_of_what_holds_no_block() {
    with_site(mode(ThpMode::Defer), |site| {
        let request = MmapRequest::anonymous(RANGE_BYTES, MapProt::READ | MapProt::WRITE);
        let odd = site.mm.mmap(&site.space, &request.fixed(0x1000_1000)).unwrap();
        let error = site.mm.madvise(&site.space, odd.raw(), RANGE_BYTES, Advice::Collapse).unwrap_err();
        assert_eq!(error.errno(), Errno::Inval);
        assert_eq!(site.mm.madvise(&site.space, BASE.raw(), PAGE_SIZE, Advice::Collapse), Ok(()));
    });
}

/// Without a free block nothing is collapsed, the scan ends at that range, and comes back to it.
#[test]
fn without_memory_it_waits() {
    with_site(mode(ThpMode::Defer), |site| {
        site.store_all([0, RANGE_PAGES]);
        let blocks: Vec<_> =
            std::iter::from_fn(|| site.mm.alloc_pages(Order::PMD, PageKind::Kernel).ok()).collect();
        let failed = [Counter::ThpCollapseAllocFailed, Counter::ThpCollapseFailed];
        assert_eq!((site.scan(), failed.map(|counter| site.get(counter))), (0, [1, 0]));
        blocks.into_iter().for_each(|block| site.mm.free_pages(block, Order::PMD));
        assert_eq!(site.scan(), 2);
    });
}

/// A space in which the cursor stands may end: the next scan goes on with the next space, nothing keeps a share of the
/// one that has ended, and no space is left out.
#[test]
fn the_cursor_survives_its_space() {
    for gone in 0..3 {
        mode(ThpMode::Defer).boot(|mm, _| {
            let free = mm.free_page_count();
            let spaces = [(); 3].map(|()| {
                let space = mm.new_space().unwrap();
                let request = MmapRequest::anonymous(2 * RANGE_BYTES, MapProt::READ | MapProt::WRITE);
                mm.mmap(&space, &request.fixed(BASE.raw())).unwrap();
                for range in 0..2 {
                    mm.write_user(&space, va(range * RANGE_PAGES), &[1]).unwrap();
                }
                space
            });
            // The youngest comes first; its first range is looked at.
            assert_eq!(khugepaged::scan(mm, 1), 1);
            mm.destroy_space(&spaces[gone]);
            assert_eq!(KArc::owners(&spaces[gone]), 1);
            check(mm);
            let left = if gone == 2 { 4 } else { 3 };
            assert_eq!(khugepaged::scan(mm, u64::from(u32::MAX)), left);
            // Once to the end, and, as it began in the middle, once from the beginning.
            assert_eq!(khugepaged::full_scans(mm), 2);
            spaces
                .iter()
                .enumerate()
                .filter(|&(n, _)| n != gone)
                .for_each(|(_, space)| mm.destroy_space(space));
            assert_eq!(khugepaged::scan(mm, 1), 0);
            assert_eq!(mm.free_page_count() + mm.huge_zero.kept_pages(), free);
        });
    }
}

/// The last space of the list ends with the cursor in it: that was a full scan.
#[test]
fn the_last_space_ends_a_scan() {
    mode(ThpMode::Defer).boot(|mm, _| {
        let space = mm.new_space().unwrap();
        mm.mmap(&space, &MmapRequest::anonymous(RANGE_BYTES, MapProt::READ)).unwrap();
        mm.mmap(&space, &MmapRequest::anonymous(RANGE_BYTES, MapProt::WRITE)).unwrap();
        khugepaged::scan(mm, 1);
        mm.destroy_space(&space);
        assert_eq!((khugepaged::full_scans(mm), KArc::owners(&space)), (1, 1));
    });
}

/// A space whose M is held for writing is passed over, and nobody waits.
#[test]
fn a_busy_space_is_passed_over() {
    with_site(mode(ThpMode::Defer), |site| {
        site.store(0);
        let writer = site.space.mmap_lock.write(site.mm.env);
        assert_eq!((site.scan(), khugepaged::full_scans(site.mm)), (0, 1));
        drop(writer);
        assert_eq!(site.scan(), 1);
    });
}

/// It sleeps for as long as the setting says; a setting that is changed ends that, a space that is born does not.
#[test]
fn sleep_and_wake() {
    use Number::{AllocSleepMillisecs as Alloc, ScanSleepMillisecs as Scan};
    for (sleep, woken, most) in [(Scan, false, 1_100_000), (Scan, true, 900_000), (Alloc, false, 1_100_000)] {
        with_site(mode(ThpMode::Defer), |site| {
            // The host's clock goes by steps, of 10 ns.
            set(site.mm, sleep, 1);
            let changes = khugepaged::changes(site.mm);
            let slept = std::sync::Mutex::new(0);
            run_on_cpus(
                site.env,
                vec![
                    Box::new(|| {
                        let before = site.mm.env.now_ns();
                        khugepaged::pause(site.mm, changes, sleep);
                        *slept.lock().unwrap() = site.mm.env.now_ns() - before;
                    }),
                    Box::new(|| {
                        khugepaged::space_born(site.mm);
                        if woken {
                            khugepaged::wake(site.mm);
                        }
                    }),
                ],
            );
            let slept = *slept.lock().unwrap();
            assert!(slept < most && (woken || slept >= 1_000_000), "woken {woken}: {slept} ns");
        });
    }
}

/// Where memory is free, but no block of 2 MiB: with `defrag` it is compacted, without it is not. Either way a scan that
/// gets no block ends, and the sleep after it is the one for want of memory; one that gets it is followed by the usual.
#[test]
fn defrag_and_the_sleep_for_want_of_memory() {
    for defrag in [0, 1] {
        with_site(mode(ThpMode::Defer), |site| {
            let mm = site.mm;
            set(mm, Number::Defrag, defrag);
            site.store_all(site.range(0).chain(site.range(1)));
            let kept = in_pieces(mm);
            assert!(mm.free_page_count() > 4 * RANGE_PAGES);
            assert_eq!(khugepaged::scan_some(mm, ALL), (0, Number::AllocSleepMillisecs));
            assert_eq!(site.get(Counter::ThpCollapseAllocFailed), 1, "the second range is not tried");
            assert_eq!(site.get(Counter::CompactStall), defrag, "defrag is {defrag}");
            kept.into_iter().for_each(|page| mm.put_folio(page));
            assert_eq!(khugepaged::scan_some(mm, ALL), (2, Number::ScanSleepMillisecs));
            site.assert_contents(|_| true);
        });
    }
}

/// Faults, MADV_DONTNEED, mprotect and a fork beside scans on another CPU: no store is lost.
#[test]
fn writers_beside_it() {
    for seed in model::seeds(3) {
        with_site(mode(ThpMode::Defer).machine(|desc| desc.seed = seed), |site| {
            site.store_all((0..RANGE_PAGES).step_by(3));
            let on = |f: &dyn Fn()| {
                site.mm.activate_space(Some(&site.space));
                f();
                site.mm.activate_space(None);
            };
            run_on_cpus(
                site.env,
                vec![
                    Box::new(|| {
                        for _ in 0..4 {
                            site.scan();
                        }
                    }),
                    Box::new(|| on(&|| site.store_all(0..RANGE_PAGES))),
                    Box::new(|| {
                        for n in 0..4 {
                            let at = va(RANGE_PAGES + 100 * n).raw();
                            site.mm.madvise(&site.space, at, PAGE_SIZE, Advice::DontNeed).unwrap();
                            site.mm.mprotect(&site.space, at, PAGE_SIZE, MapProt::READ).unwrap();
                            let child = site.mm.fork_space(&site.space).unwrap();
                            site.mm.destroy_space(&child);
                        }
                    }),
                ],
            );
            site.mm.activate_space(Some(&site.space));
            site.assert_contents(|_| true);
            assert!(site.scan() <= 2);
            site.assert_contents(|_| true);
        });
    }
}
