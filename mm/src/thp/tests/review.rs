//! Every point that the RFC of 2018 and its review ask of reservations, and the test that holds us to it.
//!
//! The RFC is Anthony Yznaga's of 2018-11-08, on linux-mm, with its list of known issues;
//! the review is Mel Gorman's. Tests that stand elsewhere are named as `file::test`; all others are here.
//!
//! | point of the RFC | test |
//! |---|---|
//! | `promotion_threshold` is 1 to 512, anything else is EINVAL with the range | `settings::threshold_is_checked`, `config::wrong_values_change_nothing`, `files::wrong_values_are_refused` on the machine |
//! | 1 is the classic huge page at the first fault | [`point_2_threshold_1_costs_what_always_does`], `huge::threshold_one` |
//! | above it the first fault reserves, page `i` for page `i` | `reserve::pages_stand_in_their_places` |
//! | at the threshold the range becomes eligible | `promote::contents_and_frames_stay`, [`point_10_the_fault_that_reaches_the_threshold`] |
//! | only where the aligned 2 MiB fit the VMA | `reserve::a_range_that_does_not_fit_is_small` |
//! | unused pages count as available | [`unused_pages_are_available`] |
//! | known issue 1: fork loses reservations | [`point_4_the_parent_keeps_its_reservations`] |
//! | known issue 2: read-only remapped pages | [`issue_2_read_only_pages_are_promoted`], `release::mprotect_of_all_keeps` |
//! | known issue 3: a read of zeros reserves | [`point_5_only_a_write_reserves`] |
//! | known issue 4: the shrinker's list stands by the node of the reservation's data, not of its pages | `pressure::the_queue_is_in_order_of_population`: link and data are struct pages of the block itself |
//! | to be done, 5: shmem | [`point_15_objects_reserve_nothing`]; performance is measured by `experiment thp` |
//! | to be done, 6: promotion by the fault | [`point_10_the_fault_that_reaches_the_threshold`], `sync::without_memory` |
//! | allocation under a spinlock | [`blocks_are_allocated_without_a_lock`] |
//!
//! | point of the review | test |
//! |---|---|
//! | 1: report latency, memory, promotions | [`point_1_memory_and_promotions_are_told`]; latency is measured by `experiment thp` |
//! | 2: a threshold of 1 is neutral | [`point_2_threshold_1_costs_what_always_does`] |
//! | 3: vmstat, documentation | [`point_3_counters_have_names`] |
//! | 4: the parent's, never shared | [`point_4_the_parent_keeps_its_reservations`] |
//! | 5: reserve on the first write; issue 2 is no blocker | [`point_5_only_a_write_reserves`], `reserve::a_read_does_not_reserve` |
//! | 6: pressure dumps all | `release::pressure_releases`, `release::allocations_reclaim` |
//! | 7: per address space | [`point_7_reservations_belong_to_the_space`] |
//! | 8: is `page` the first fault's or the block's? | [`point_8_every_page_leads_to_the_block`], `reserve::a_page_leads_to_its_reservation` |
//! | 9: ranges are checked in one place | `settings::threshold_is_checked` |
//! | 10: why a fault falls back; the fault that reaches the threshold | [`point_10_why_a_fault_falls_back`], `policy::the_table`, [`point_10_the_fault_that_reaches_the_threshold`] |
//! | 11: how the block comes apart (split_page there, pieces here), and no pointer is left behind | [`point_11_a_block_comes_apart_and_goes_without_a_trace`] |
//! | 12: mremap dumps | [`point_12_mremap_dumps`] |
//! | 13: zeros alone never become a huge page | [`point_13_zeros_alone_stay_zeros`], `promote::zeros_alone_are_not_promoted` |
//! | 14: in doubt drop the reservation | [`point_14_changes_of_the_vma_drop_what_they_cut`], `release::*` |
//! | 14: khugepaged repairs what was dropped, or could not be reserved | `khugepaged::a_growing_heap_becomes_huge`, `khugepaged::beside_reservations_the_threshold_decides`, [`point_14_what_was_dropped_is_repaired`] |
//! | 14: a merge of VMAs | `point_7_reservations_belong_to_the_space`, [`point_14_a_merge_drops_nothing`] |
//! | 15: shmem is not essential | [`point_15_objects_reserve_nothing`] |

use arch::model::counters;
use arch::pte::PteFlags;

use super::*;
use crate::config::{Promote, ThpMode};
use crate::page::{FolioRef, page_of};
use crate::space::{Advice, Errno, MapFlags, MremapRequest, RemapFlags};
use crate::thp::ThpPermission;

const READ: MapProt = MapProt::READ;
const RW: MapProt = MapProt::READ.union(MapProt::WRITE);

/// Every test that the tables above name is there.
#[test]
fn the_tables_name_tests() {
    let files = [
        ("", include_str!("review.rs")),
        ("config", include_str!("../../config.rs")),
        ("files", include_str!("../../../../kernel/src/selftest/tests/files.rs")),
        ("huge", include_str!("huge.rs")),
        ("khugepaged", include_str!("khugepaged.rs")),
        ("policy", include_str!("../policy.rs")),
        ("pressure", include_str!("pressure.rs")),
        ("promote", include_str!("promote.rs")),
        ("release", include_str!("release.rs")),
        ("reserve", include_str!("reserve.rs")),
        ("settings", include_str!("../settings.rs")),
        ("sync", include_str!("sync.rs")),
    ];
    let rows = files[0]
        .1
        .lines()
        .take_while(|line| line.starts_with("//!"))
        .filter(|line| line.starts_with("//! | "));
    let words =
        rows.filter_map(|row| row.split(" | ").nth(2)).flat_map(|cell| cell.split('`').skip(1).step_by(2));
    let mut named = 0;
    for name in words.filter(|name| name.contains('_') && !name.ends_with("::*")) {
        let (file, test) = name.split_once("::").unwrap_or(("", name));
        let (_, text) =
            files.iter().find(|(other, _)| *other == file).unwrap_or_else(|| panic!("no file of {name}"));
        assert!(text.contains(&format!("fn {test}(")), "{name} is no test");
        named += 1;
    }
    assert!(named >= 25, "only {named} tests are named");
}

/// Review, 1: what the metrics need is counted: memory used over memory touched, at any moment, and promotions.
#[test]
fn point_1_memory_and_promotions_are_told() {
    with_site(threshold(3), |site| {
        let used = || site.get(Counter::NrAnon) + site.get(Counter::NrThpReserved);
        site.store_all([0, 1, RANGE_PAGES]);
        assert_eq!((site.get(Counter::NrAnon), used()), (3, 2 * RANGE_PAGES));
        site.store(2);
        assert_eq!(site.drain(), 1);
        assert_eq!(
            (site.get(Counter::ResPagesCollapsed), site.get(Counter::ResPagesFilled)),
            (1, RANGE_PAGES - 3)
        );
        assert_eq!((site.get(Counter::NrAnon), used()), (RANGE_PAGES + 1, 2 * RANGE_PAGES));
    });
}

/// Review, 2: with a threshold of 1 the machinery costs nothing. Write faults, reads, a fork with a write after it, and
/// the end of it all take the very same stores of descriptors, TLBIs, barriers and reads of memory as `thp=always`, and
/// leave the same pages zeroed, at the same addresses.
#[test]
fn point_2_threshold_1_costs_what_always_does() {
    let cost = |mode: ThpMode| {
        let cost = std::cell::RefCell::new(Vec::new());
        with_site(threshold(1).config(|config| config.thp = mode), |site| {
            let mut before = counters();
            let note = |what: &str, before: &mut arch::model::Counters| {
                let spent = counters().since(before);
                let faults = [Counter::PgFault, Counter::PgAlloc, Counter::ThpFaultAlloc, Counter::NrAnon];
                cost.borrow_mut().push(format!(
                    "{what}: {spent:?} {:?} {:?}",
                    faults.map(|counter| site.get(counter)),
                    site.leaf(0)
                ));
                *before = counters();
            };
            site.store(77);
            note("the first write", &mut before);
            site.store_all(0..RANGE_PAGES);
            note("writes", &mut before);
            assert_eq!(site.load(RANGE_PAGES + 5), (0, 0));
            site.store(RANGE_PAGES + 5);
            note("a read, a write", &mut before);
            let child = site.mm.fork_space(&site.space).unwrap();
            note("fork", &mut before);
            site.store(9);
            note("a write after it", &mut before);
            site.mm.destroy_space(&child);
            note("the child's end", &mut before);
            site.mm.munmap(&site.space, BASE.raw(), RANGES * RANGE_BYTES).unwrap();
            note("munmap", &mut before);
            for counter in [Counter::ThpResAlloc, Counter::ThpResAllocFailed, Counter::ThpResBroken] {
                assert_eq!(site.get(counter), 0);
            }
        });
        cost.into_inner()
    };
    assert_eq!(cost(ThpMode::Reserve), cost(ThpMode::Always));
}

/// Review, 3: the counters are in vmstat, under the names of the RFC, and no name stands there twice. (That each has a
/// word of documentation the compiler sees to.)
#[test]
fn point_3_counters_have_names() {
    let names: Vec<_> = Counter::ALL.iter().map(|counter| counter.name()).collect();
    for name in ["nr_thp_reserved", "thp_res_alloc", "thp_res_alloc_failed", "res_pages_collapsed"] {
        assert_eq!(names.iter().filter(|&&other| other == name).count(), 1, "{name}");
    }
    let mut once = names.clone();
    once.sort_unstable();
    once.dedup();
    assert_eq!(once.len(), names.len());
}

/// RFC, known issue 1, and review, 4: the parent keeps its reservations over a fork and goes on to take pages of them;
/// the child shares none, neither the reserved pages nor the promotion, and reserves for itself where it begins anew.
/// While it has pages of the block nothing is promoted for either; when it is gone the parent's range is.
#[test]
fn point_4_the_parent_keeps_its_reservations() {
    with_site(threshold(8), |site| {
        let (mm, space) = (site.mm, &site.space);
        site.store_all(0..4);
        let child = mm.fork_space(space).unwrap();
        assert_eq!((site.get(Counter::NrThpReserved), site.get(Counter::ThpResAlloc)), (RANGE_PAGES - 4, 1));
        mm.write_user(&child, va(5), &[1]).unwrap();
        assert_eq!(site.get(Counter::NrThpReserved), RANGE_PAGES - 4, "the child took the parent's page");
        let block = site.leaf(0).unwrap().1.pfn();
        let childs = child.ptl.lock().walk(va(5)).leaf().unwrap().desc.output(Level::L3).pfn();
        assert!(childs < block || childs >= block.add(RANGE_PAGES));
        mm.write_user(&child, va(RANGE_PAGES), &[2]).unwrap();
        assert_eq!(site.get(Counter::ThpResAlloc), 2, "a range of its own");
        site.store_all(4..9);
        assert_eq!((site.drain(), site.is_block(0)), (0, false), "shared with the child");
        assert_eq!(site.leaf(5).unwrap().1, block.add(5).phys());
        mm.destroy_space(&child);
        assert_eq!((site.drain(), site.is_block(0)), (1, true));
        site.assert_contents(|page| page < 9);
    });
}

/// RFC, known issue 3, and review, 5: reads, of pages or of the whole range, reserve nothing; the first write does,
/// also where zeros are mapped already.
#[test]
fn point_5_only_a_write_reserves() {
    with_site(threshold(512), |site| {
        (0..RANGE_PAGES).for_each(|page| assert_eq!(site.load(page), (0, 0)));
        assert_eq!(site.load(RANGE_PAGES), (0, 0));
        assert_eq!(
            [Counter::ThpResAlloc, Counter::NrThpReserved, Counter::NrAnon].map(|c| site.get(c)),
            [0; 3]
        );
        site.store(9);
        assert_eq!([Counter::ThpResAlloc, Counter::NrThpReserved].map(|c| site.get(c)), [1, RANGE_PAGES - 1]);
        site.assert_contents(|page| page == 9);
    });
}

/// RFC, known issue 2: pages that have become read-only need no write to be promoted: neither where the user made them
/// so, nor where a fork did and the child is gone.
#[test]
fn issue_2_read_only_pages_are_promoted() {
    with_site(threshold(6), |site| {
        site.store_all(0..6);
        site.mm.mprotect(&site.space, BASE.raw(), RANGES * RANGE_BYTES, READ).unwrap();
        assert_eq!(site.drain(), 1);
        let leaf = site.space.ptl.lock().walk(BASE).leaf().unwrap();
        assert!(leaf.level == Level::L2 && leaf.desc.flags(Level::L2).contains(PteFlags::READ_ONLY));
        assert!(model::user_store(va(0), 1).is_err());
        site.assert_contents(|page| page < 6);
    });
    with_site(threshold(6), |site| {
        site.store_all(0..6);
        let child = site.mm.fork_space(&site.space).unwrap();
        site.mm.destroy_space(&child);
        assert_eq!((site.drain(), site.is_block(0)), (1, true));
        assert_eq!(site.get(Counter::ResPagesBroughtBack), 0);
        site.assert_contents(|page| page < 6);
    });
}

/// Review, 7: reservations are the space's, neither a VMA's nor a thread's: threads on two CPUs take pages of one, and
/// a cut of the VMA at the end of a range, or a merge, changes nothing. Another space has another one for the same
/// address.
#[test]
fn point_7_reservations_belong_to_the_space() {
    with_site(threshold(512), |site| {
        let (mm, space) = (site.mm, &site.space);
        site.store_all([0, RANGE_PAGES]);
        model::run_as(arch::CpuId::new(1), || {
            mm.activate_space(Some(space));
            site.store(1);
            mm.activate_space(None);
        });
        let block = site.leaf(0).unwrap().1;
        assert_eq!((site.leaf(1).unwrap().1, site.get(Counter::ThpResAlloc)), (block.add(PAGE_SIZE), 2));
        let vmas = || [0, RANGE_PAGES].map(|page| space.vma_at(va(page)).unwrap().start);
        mm.mprotect(space, va(RANGE_PAGES).raw(), RANGE_BYTES, READ).unwrap();
        assert_eq!(vmas(), [BASE, va(RANGE_PAGES)]);
        site.store(2);
        mm.mprotect(space, va(RANGE_PAGES).raw(), RANGE_BYTES, RW).unwrap();
        assert_eq!(vmas(), [BASE; 2]);
        site.store_all([3, RANGE_PAGES + 1]);
        assert_eq!([Counter::ThpResAlloc, Counter::ThpResBroken].map(|c| site.get(c)), [2, 0]);
        let other = mm.new_space().unwrap();
        mm.mmap(&other, &MmapRequest::anonymous(RANGE_BYTES, RW).fixed(BASE.raw())).unwrap();
        mm.write_user(&other, va(0), &[1]).unwrap();
        assert_eq!(site.get(Counter::ThpResAlloc), 3);
        mm.destroy_space(&other);
        assert_eq!(
            [Counter::ThpResBroken, Counter::NrThpReserved].map(|c| site.get(c)),
            [1, 2 * RANGE_PAGES - 6]
        );
    });
}

/// Review, 8: whichever page of a range faults first, the record is the block's: its range, and a bit for that page.
#[test]
fn point_8_every_page_leads_to_the_block() {
    for first in [0, 1, 300, 511] {
        with_site(threshold(512), |site| {
            site.store(first);
            let page = site.leaf(first).unwrap().1.pfn();
            let record = site.mm.reservation_of(page).unwrap();
            assert_eq!(record.block().pfn(), page.align_down(Order::PMD));
            assert_eq!(record.key().range, BASE);
            assert!(record.popmap().iter().eq([first as usize]));
        });
    }
}

/// Takes all memory and gives every other page back, so that no block is free. What it keeps.
pub(super) fn in_pieces(mm: &Mm) -> Vec<FolioRef> {
    let take = || mm.alloc_pages(Order::PAGE, PageKind::Kernel).ok();
    let all: Vec<_> = std::iter::from_fn(take).collect();
    let mut kept = Vec::new();
    for (n, page) in all.into_iter().enumerate() {
        if n % 2 == 0 { mm.put_folio(page) } else { kept.push(page) }
    }
    kept
}

/// Review, 10: the reasons for which a fault that would be huge or reserve ends as a small page, and what the counters
/// say of each.
#[test]
fn point_10_why_a_fault_falls_back() {
    let counts = |site: &Site<'_>| {
        [Counter::ThpResAlloc, Counter::ThpResAllocFailed, Counter::ThpFaultAlloc, Counter::ThpFaultFallback]
            .map(|c| site.get(c))
    };
    for pages in [1, 256] {
        let fallen = |why: &str, failed: u64, before: &dyn Fn(&Site<'_>) -> Vec<FolioRef>| {
            with_site(threshold(pages), |site| {
                let held = before(site);
                site.store(3);
                let failed = if pages == 1 { [0, 0, 0, failed] } else { [0, failed, 0, 0] };
                assert_eq!((counts(site), site.is_block(3)), (failed, false), "{why}, threshold {pages}");
                assert_eq!(site.load(3), (word(3), 0));
                held.into_iter().for_each(|page| site.mm.put_folio(page));
            });
        };
        fallen("it does not fit", 0, &|site| {
            site.mm.munmap(&site.space, va(511).raw(), PAGE_SIZE).unwrap();
            Vec::new()
        });
        fallen("MADV_NOHUGEPAGE", 0, &|site| {
            site.mm.madvise(&site.space, BASE.raw(), RANGE_BYTES, Advice::NoHugePage).unwrap();
            Vec::new()
        });
        fallen("PR_SET_THP_DISABLE", 0, &|site| {
            site.mm.set_thp_permission(&site.space, ThpPermission::Withheld);
            Vec::new()
        });
        fallen("other pages are there", 0, &|site| {
            site.mm.thp.set_mode(ThpMode::Never);
            site.store(9);
            site.mm.thp.set_mode(ThpMode::Reserve);
            Vec::new()
        });
        fallen("no block", 1, &|site| in_pieces(site.mm));
    }
}

/// Review, 10: what happens on the fault that reaches the threshold. It makes its own entry like any other; then, with
/// `promote=async`, it tells the promoter and returns, and with `promote=sync` it returns to a block. Either way the
/// frame of its page is the same, and the word it stored is there.
#[test]
fn point_10_the_fault_that_reaches_the_threshold() {
    for promote in Promote::ALL {
        with_site(threshold(5).config(|config| config.promote = *promote), |site| {
            site.store_all(0..4);
            let block = site.leaf(0).unwrap().1;
            assert_eq!(promoter::backlog(site.mm), 0);
            site.store(400);
            let sync = *promote == Promote::Sync;
            let small = Some((Level::L3, block.add(400 * PAGE_SIZE)));
            assert_eq!(site.leaf(400), if sync { Some((Level::L2, block)) } else { small });
            assert_eq!(promoter::backlog(site.mm), usize::from(!sync));
            assert_eq!(site.get(Counter::ResPagesCollapsed), u64::from(sync));
            assert_eq!(site.drain(), u64::from(!sync));
            site.assert_contents(|page| page < 4 || page == 400);
        });
    }
}

/// Review, 11: a block comes apart into its populated pages, each with a reference of its own and one of its entry, and
/// pieces of what is left, each with one reference, and nothing inside; when the reservation goes nothing in them leads
/// anywhere, and each is freed when its last user lets go.
#[test]
fn point_11_a_block_comes_apart_and_goes_without_a_trace() {
    with_site(threshold(512), |site| {
        site.store_all([0, 9]);
        let block = page_of(site.leaf(0).unwrap().1.pfn());
        let pieces = [(1, 0), (2, 1), (4, 2), (8, 0), (10, 1), (12, 2)];
        let pieces: Vec<_> = pieces.into_iter().chain((4..=8).map(|order| (1 << order, order))).collect();
        for n in 0..RANGE_PAGES {
            let page = block.nth(n);
            assert_eq!(page.head(site.mm.config.tails), page);
            let order = pieces.iter().find(|piece| piece.0 == n).map(|piece| piece.1);
            match order {
                _ if n == 0 || n == 9 => assert!(page.is_single(PageKind::Anon) && page.refcount() == 2),
                Some(order) => {
                    assert!(page.is_block(PageKind::ThpReserved, Order::new(order)), "page {n}");
                    assert_eq!(page.refcount(), 1, "page {n}");
                }
                None => assert_eq!((page.kind(), page.refcount()), (PageKind::Free, 0), "page {n}"),
            }
        }
        let free = site.mm.free_page_count();
        assert_eq!(crate::thp::reclaim::drop_reservations(site.mm), RANGE_PAGES - 2);
        assert_eq!(site.mm.free_page_count(), free + RANGE_PAGES - 2);
        assert_eq!([0, 9].map(|n| block.nth(n).refcount()), [1; 2]);
        assert_eq!([0, 9].map(|n| block.nth(n).private()), [0; 2]);
        assert_eq!((0..RANGE_PAGES).find(|&n| site.mm.reservation_of(block.nth(n).pfn()).is_some()), None);
        site.mm.madvise(&site.space, va(9).raw(), PAGE_SIZE, Advice::DontNeed).unwrap();
        assert_eq!(site.mm.free_page_count(), free + RANGE_PAGES - 1);
    });
}

/// Review, 12: mremap dumps the reservations of what moves, congruent or not, whole or in part; the pages move.
#[test]
fn point_12_mremap_dumps() {
    for (pages, to) in
        [(RANGE_PAGES, 8 * RANGE_PAGES), (RANGE_PAGES, 8 * RANGE_PAGES + 5), (4, 8 * RANGE_PAGES)]
    {
        with_site(threshold(512), |site| {
            site.store_all([0, 3, 500, RANGE_PAGES]);
            let (frame, len) = (site.leaf(3).unwrap().1, pages * PAGE_SIZE);
            let request = MremapRequest {
                addr: BASE.raw(),
                old_len: len,
                new_len: len,
                flags: RemapFlags::MAYMOVE | RemapFlags::FIXED,
                new_addr: va(to).raw(),
            };
            site.mm.mremap(&site.space, &request).unwrap();
            assert_eq!((site.leaf(to + 3).unwrap().1, site.load(to + 3)), (frame, (word(3), 0)));
            let counts = [Counter::ThpResBroken, Counter::NrThpReserved].map(|c| site.get(c));
            assert_eq!(counts, [1, RANGE_PAGES - 1], "the neighbour's reservation stays");
            assert_eq!(site.load(RANGE_PAGES), (word(RANGE_PAGES), 0));
            site.mm.munmap(&site.space, va(to).raw(), len).unwrap();
        });
    }
}

/// Review, 13: a range of which nothing but zeros is mapped is not promoted, by the promoter or by a fault, however
/// many there are, nor collapsed by MADV_COLLAPSE; a single written page makes no difference below the threshold.
#[test]
fn point_13_zeros_alone_stay_zeros() {
    for &promote in Promote::ALL {
        with_site(threshold(2).config(|config| config.promote = promote), |site| {
            (0..RANGE_PAGES).for_each(|page| assert_eq!(site.load(page), (0, 0)));
            let zero = |&page: &u64| site.leaf(page).is_some_and(|(_, at)| site.mm.zero_page.is_at(at));
            let zeros = || (0..RANGE_PAGES).filter(zero).count() as u64;
            promoter::submit(site.mm, &site.space, BASE);
            assert_eq!((site.drain(), site.get(Counter::NrAnonThp), zeros()), (0, 0, RANGE_PAGES));
            let collapsed = site.mm.madvise(&site.space, BASE.raw(), RANGE_BYTES, Advice::Collapse);
            assert_eq!(collapsed.map_err(|error| error.errno()), Err(Errno::Inval));
            assert_eq!((site.get(Counter::NrAnonThp), zeros()), (0, RANGE_PAGES));
            site.store(0);
            (1..RANGE_PAGES).for_each(|page| assert_eq!(site.load(page), (0, 0)));
            assert_eq!((site.drain(), site.get(Counter::NrAnonThp)), (0, 0));
        });
    }
}

/// Review, 14: a cut of the VMA inside a range, by unmapping, by rights or by advice, drops that range's reservation
/// and no other; a merge brings none back; the exit drops all.
#[test]
fn point_14_changes_of_the_vma_drop_what_they_cut() {
    type Cut = fn(&Site<'_>);
    let cuts: [Cut; 5] = [
        |site| site.mm.munmap(&site.space, va(RANGE_PAGES + 7).raw(), PAGE_SIZE).unwrap(),
        |site| site.mm.mprotect(&site.space, va(RANGE_PAGES + 7).raw(), PAGE_SIZE, READ).unwrap(),
        |site| {
            site.mm.madvise(&site.space, va(RANGE_PAGES + 7).raw(), PAGE_SIZE, Advice::NoHugePage).unwrap();
        },
        |site| site.mm.madvise(&site.space, va(RANGE_PAGES + 7).raw(), PAGE_SIZE, Advice::DontNeed).unwrap(),
        |site| {
            let (at, len) = (va(RANGE_PAGES + 7).raw(), PAGE_SIZE);
            site.mm.mprotect(&site.space, at, len, READ).unwrap();
            site.mm.mprotect(&site.space, at, len, RW).unwrap();
            assert_eq!(site.space.vma_at(va(RANGE_PAGES)).unwrap().start, BASE, "merged");
        },
    ];
    for (n, cut) in cuts.into_iter().enumerate() {
        with_site(threshold(512), |site| {
            site.store_all((0..RANGES).map(|range| range * RANGE_PAGES));
            cut(site);
            let counts = [Counter::ThpResBroken, Counter::NrThpReserved].map(|c| site.get(c));
            assert_eq!(counts, [1, (RANGES - 1) * (RANGE_PAGES - 1)], "cut {n}");
            site.check();
            (0..RANGES)
                .for_each(|range| assert_eq!(site.load(range * RANGE_PAGES).0, word(range * RANGE_PAGES)));
            let free = site.mm.free_page_count();
            let child = site.mm.new_space().unwrap();
            site.mm.mmap(&child, &MmapRequest::anonymous(RANGE_BYTES, RW).fixed(BASE.raw())).unwrap();
            site.mm.write_user(&child, va(1), &[1]).unwrap();
            site.mm.destroy_space(&child);
            assert_eq!((site.mm.free_page_count(), site.get(Counter::NrThpReserved)), (free, counts[1]));
        });
    }
}

/// Review, 15: memory of objects is not reserved for, whatever the threshold.
#[test]
fn point_15_objects_reserve_nothing() {
    with_site(threshold(2), |site| {
        let request = MmapRequest::anonymous(RANGE_BYTES, RW).fixed(va(8 * RANGE_PAGES).raw());
        let flags = (request.flags | MapFlags::SHARED) - MapFlags::PRIVATE;
        site.mm.mmap(&site.space, &MmapRequest { flags, ..request }).unwrap();
        site.store_all(8 * RANGE_PAGES..8 * RANGE_PAGES + 20);
        assert_eq!([Counter::ThpResAlloc, Counter::NrThpReserved].map(|c| site.get(c)), [0; 2]);
        assert_eq!((promoter::backlog(site.mm), site.is_block(8 * RANGE_PAGES)), (0, false));
        site.mm.munmap(&site.space, va(8 * RANGE_PAGES).raw(), RANGE_BYTES).unwrap();
    });
}

/// RFC: the unused pages of reservations are available memory: a reservation takes none of it away but the pages that
/// are populated, and tables.
#[test]
fn unused_pages_are_available() {
    with_site(threshold(512), |site| {
        let taken = || site.get(Counter::NrAnon) + site.get(Counter::NrPageTable);
        let (available, before) = (site.mm.available_pages(), taken());
        site.store_all((0..RANGES).map(|range| range * RANGE_PAGES));
        assert_eq!(site.get(Counter::NrThpReserved), RANGES * (RANGE_PAGES - 1));
        assert_eq!(site.mm.available_pages(), available - (taken() - before));
        crate::thp::reclaim::drop_reservations(site.mm);
        assert_eq!(site.mm.available_pages(), available - (taken() - before));
    });
}

/// Review of the RFC's code: a block is allocated while no spinlock is held. Where memory is in pieces the allocator
/// compacts, which sleeps and takes locks of low rank: held locks would be seen at once. The fault then falls back.
#[test]
fn blocks_are_allocated_without_a_lock() {
    with_site(threshold(512), |site| {
        let mm = site.mm;
        let kept = in_pieces(mm);
        assert!(mm.free_page_count() > 4 * RANGE_PAGES);
        site.store(0);
        assert_eq!([Counter::ThpResAlloc, Counter::ThpResAllocFailed].map(|c| site.get(c)), [0, 1]);
        assert_eq!(site.load(0), (word(0), 0));
        kept.into_iter().for_each(|page| mm.put_folio(page));
        site.store(RANGE_PAGES);
        assert_eq!(site.get(Counter::ThpResAlloc), 1);
    });
}

/// Review, 14: what was dropped is repaired: after munmap and mprotect have cut a range, and it was made whole again,
/// its reservation does not come back; khugepaged makes the huge page of it.
#[test]
fn point_14_what_was_dropped_is_repaired() {
    with_site(threshold(4), |site| {
        let (mm, space) = (site.mm, &site.space);
        site.store_all([0, 1]);
        mm.mprotect(space, va(9).raw(), PAGE_SIZE, READ).unwrap();
        mm.mprotect(space, va(9).raw(), PAGE_SIZE, RW).unwrap();
        site.store_all([2, 3]);
        assert_eq!(
            (site.drain(), site.get(Counter::ThpResAlloc), site.get(Counter::ThpResBroken)),
            (0, 1, 1)
        );
        assert_eq!((crate::thp::khugepaged::scan(mm, 1 << 20), site.is_block(0)), (1, true));
        site.assert_contents(|page| page < 4);
    });
}

/// Review, 14: a VMA that is merged with its neighbour, in front or behind, keeps its reservations: each range lies in
/// one of them before, and in their union after.
#[test]
fn point_14_a_merge_drops_nothing() {
    for (first, second) in [(8, 10), (10, 8)] {
        with_site(threshold(512), |site| {
            let map = |range: u64| {
                let request =
                    MmapRequest::anonymous(2 * RANGE_BYTES, RW).fixed(va(range * RANGE_PAGES).raw());
                site.mm.mmap(&site.space, &request).unwrap();
            };
            map(first);
            site.store(first * RANGE_PAGES);
            let block = site.leaf(first * RANGE_PAGES).unwrap().1;
            map(second);
            let merged = site.space.vma_at(va(10 * RANGE_PAGES)).unwrap();
            assert_eq!((merged.start, merged.bytes()), (va(8 * RANGE_PAGES), 4 * RANGE_BYTES));
            site.store(first * RANGE_PAGES + 1);
            let counts = [Counter::ThpResAlloc, Counter::ThpResBroken, Counter::NrThpReserved];
            assert_eq!(counts.map(|counter| site.get(counter)), [1, 0, RANGE_PAGES - 2]);
            assert_eq!(site.leaf(first * RANGE_PAGES + 1).unwrap().1, block.add(PAGE_SIZE));
            site.mm.munmap(&site.space, va(8 * RANGE_PAGES).raw(), 4 * RANGE_BYTES).unwrap();
        });
    }
}
