//! Huge pages that hold many zeros, under pressure.

use arch::Access;

use super::family::*;
use crate::Mm;
use crate::config::Number;
use crate::config::{Contpte, Mapcount, ThpMode};
use crate::kalloc::KArc;
use crate::page::PageRef;
use crate::rmap::deferred::{backlog, candidates};
use crate::rmap::underused::split_underused;
use crate::rmap::{MoveWhat, migrate_folio, target_for};
use crate::space::{AddressSpace, MapFlags};
use crate::stats::Counter;
use crate::testkit::{self, Builder};

/// A machine on which every aligned 2 MiB become a huge page at the first write.
fn underused(change: impl FnOnce(&mut crate::config::MmConfig)) -> Builder {
    with(|config| {
        config.thp = ThpMode::Always;
        change(config);
    })
}

/// A huge page of which the pages of `written` hold something.
fn huge(mm: &Mm, written: impl IntoIterator<Item = u64>) -> (KArc<AddressSpace>, PageRef) {
    let space = space(mm, PAGES, MapFlags::empty());
    store(mm, &space, 0, 1);
    written.into_iter().for_each(|n| store(mm, &space, n, n + 1));
    let head = page(mm, &space, 0).1;
    (space, head)
}

fn splits(mm: &Mm) -> u64 {
    mm.stats.get(Counter::ThpUnderusedSplitPage)
}

fn end(mm: &Mm, space: &KArc<AddressSpace>) {
    mm.destroy_space(space);
    assert_eq!((backlog(mm), candidates(mm)), (0, 0));
}

/// Whether a huge page could be split is asked before its bytes are read: one that a child shares stays a candidate
/// though it has no page of zeros, which nobody has seen.
#[test]
fn what_cannot_be_split_is_not_read() {
    underused(|_| ()).boot(|mm, _| {
        mm.thp.set(Number::MaxPtesNone, 100).unwrap();
        let (space, _) = huge(mm, 0..PAGES);
        let child = mm.fork_space(&space).unwrap();
        assert_eq!((split_underused(mm, 1), candidates(mm)), (0, 1), "it is shared");
        mm.destroy_space(&child);
        assert_eq!((split_underused(mm, 1), candidates(mm)), (0, 0), "it is used");
        end(mm, &space);
    });
}

/// Pages of zeros go, whoever wrote the zeros; all others keep frame and bytes; what was given back reads as zeros and
/// gets a page of its own at the next write. In every way of counting that can tell that one space has it, folded or
/// not.
#[test]
fn pages_of_zeros_are_given_back() {
    for &mapcount in Mapcount::ALL {
        for &contpte in Contpte::ALL {
            underused(|config| (config.mapcount, config.contpte) = (mapcount, contpte)).boot(|mm, _| {
                mm.thp.set(Number::MaxPtesNone, 409).unwrap();
                // 16 in a row, so that a group stays whole; one that was written with zeros.
                let (space, head) = huge(mm, (0..512).step_by(40).chain(64..80));
                store(mm, &space, 300, 0);
                // One of which only the last byte is something.
                mm.write_user(&space, va(302).add(4095), &[1]).unwrap();
                let full = |n: u64| n.is_multiple_of(40) || (64..80).contains(&n);
                let written = |n: u64| full(n) || n == 302;
                let kept = (0..PAGES).filter(|&n| written(n)).count() as u64;
                let free = mm.free_page_count();
                assert_eq!(split_underused(mm, 1), PAGES - kept, "{mapcount:?}");
                // A table took the place of the block.
                assert_eq!(mm.free_page_count(), free + PAGES - kept - 1);
                assert_eq!((splits(mm), candidates(mm)), (1, 0));
                assert_eq!(mm.stats.get(Counter::NrAnon), kept);
                testkit::check(mm);
                for n in 0..PAGES {
                    assert_eq!(load(mm, &space, n), if full(n) { n + 1 } else { 0 }, "page {n}");
                    let frame = leaf(&space, n).unwrap().1;
                    let expected = if written(n) { head.nth(n).pfn() } else { mm.zero_page.pfn() };
                    assert_eq!(frame.pfn(), expected, "page {n}");
                }
                let mut last = [0];
                mm.read_user(&space, va(302).add(4095), &mut last).unwrap();
                assert_eq!(last, [1]);
                store(mm, &space, 300, 7);
                store(mm, &space, 301, 8);
                assert_eq!([300, 301, 302].map(|n| load(mm, &space, n)), [7, 8, 0]);
                testkit::check(mm);
                end(mm, &space);
            });
        }
    }
}

/// As many pages of zeros as `max_ptes_none` are not too many, one more is; 511 and `shrink_underused` of 0 are off.
/// What is used is no candidate any more.
#[test]
fn the_limit_is_exact() {
    underused(|_| ()).boot(|mm, _| {
        let (space, _) = huge(mm, 0..100);
        assert_eq!((split_underused(mm, 1), candidates(mm)), (0, 1), "511 is off");
        mm.thp.set(Number::MaxPtesNone, 411).unwrap();
        mm.thp.set(Number::ShrinkUnderused, 0).unwrap();
        assert_eq!((split_underused(mm, 1), candidates(mm)), (0, 1), "the switch is off");
        mm.thp.set(Number::ShrinkUnderused, 1).unwrap();
        let (other, _) = huge(mm, 0..101);
        assert_eq!(
            (split_underused(mm, u64::MAX), splits(mm)),
            (412, 1),
            "412 pages of zeros, 411 pages of zeros"
        );
        assert_eq!(candidates(mm), 0);
        mm.destroy_space(&space);
        end(mm, &other);
    });
}

/// A pinned one, one that a child shares, and one that somebody holds are left alone and stay candidates; when nobody
/// has them any more they are split.
#[test]
fn pinned_shared_and_held_ones_are_left_alone() {
    underused(|config| config.mapcount = Mapcount::MmOwner).boot(|mm, _| {
        mm.thp.set(Number::MaxPtesNone, 0).unwrap();
        let (pinned, head) = huge(mm, [5]);
        let pins = mm.pin_user_pages(&pinned, va(5), 1, Access::Write).unwrap();
        let (shared, _) = huge(mm, [5]);
        let child = mm.fork_space(&shared).unwrap();
        let (held, of_held) = huge(mm, [5]);
        let reference = of_held.try_get().unwrap();
        assert_eq!((split_underused(mm, u64::MAX), splits(mm), candidates(mm)), (0, 0, 3));
        assert_eq!(page(mm, &pinned, 5).1, head);
        mm.unpin(pins);
        mm.destroy_space(&child);
        mm.put_folio(reference);
        testkit::check(mm);
        assert_eq!((split_underused(mm, u64::MAX), splits(mm), candidates(mm)), (3 * 510, 3, 0));
        for space in [&pinned, &shared, &held] {
            assert_eq!((load(mm, space, 5), load(mm, space, 6)), (6, 0));
            mm.destroy_space(space);
        }
    });
}

/// The oldest is looked at first, and no more are split than it takes. One that has moved to another frame is still a
/// candidate; of one that was unmapped in part the unmapped part goes first.
#[test]
fn oldest_first_and_no_more_than_needed() {
    underused(|_| ()).boot(|mm, _| {
        mm.thp.set(Number::MaxPtesNone, 400).unwrap();
        let spaces: Vec<_> = (0..3).map(|_| huge(mm, [1])).collect();
        let target = target_for(mm, spaces[1].1).unwrap();
        migrate_folio(mm, spaces[1].1.try_get().unwrap(), target, MoveWhat::All).unwrap();
        assert_eq!(candidates(mm), 3);
        testkit::check(mm);
        mm.munmap(&spaces[2].0, va(100).raw(), 4096).unwrap();
        assert_eq!((candidates(mm), backlog(mm)), (2, 1));
        assert_eq!(mm.reclaim(1), 1, "the part that nobody maps");
        assert_eq!((candidates(mm), backlog(mm), splits(mm)), (2, 0, 0));
        assert_eq!(mm.reclaim(1), 510);
        assert_eq!((candidates(mm), splits(mm)), (1, 1));
        assert_eq!(leaf(&spaces[0].0, 2).unwrap().1.pfn(), mm.zero_page.pfn(), "the oldest");
        assert_eq!(mm.reclaim(u64::MAX), 510);
        assert_eq!(mm.reclaim(1), 0);
        for (space, _) in spaces {
            assert_eq!((load(mm, &space, 1), load(mm, &space, 2)), (2, 0));
            mm.destroy_space(&space);
        }
    });
}

/// A huge page that more spaces map by blocks than one address can lack tables is split.
#[test]
fn blocks_of_many_spaces_are_split() {
    underused(|_| ()).boot(|mm, _| {
        let (parent, head) = huge(mm, [9]);
        let children: Vec<_> = (0..5).map(|_| mm.fork_space(&parent).unwrap()).collect();
        assert_eq!(crate::rmap::split_folio(mm, head.try_get().unwrap()), Ok(0));
        testkit::check(mm);
        for space in children.iter().chain([&parent]) {
            assert_eq!(load(mm, space, 9), 10);
            mm.destroy_space(space);
        }
    });
}
