//! What becomes of reservations when a setting changes.

use super::*;
use crate::config::ThpMode;
use crate::space::Advice;
use crate::thp::ThpPermission;
use crate::thp::promote::{PromoteError, promote_range};

/// A ripe range waits while the mode forbids that it becomes huge, in place or by pages brought back, and is promoted
/// when it allows it again.
#[test]
fn the_mode_in_force_decides_about_promotion() {
    use ThpMode::{Always, Defer, Madvise, Never, Reserve};
    for (mode, advice, promoted) in [
        (Never, None, 0),
        (Never, Some(Advice::HugePage), 0),
        (Madvise, None, 0),
        (Madvise, Some(Advice::HugePage), 1),
        (Always, None, 1),
        (Defer, None, 1),
        (Reserve, None, 1),
    ] {
        with_site(threshold(4), |site| {
            site.store_all(0..4);
            if let Some(advice) = advice {
                site.mm.madvise(&site.space, BASE.raw(), RANGES * RANGE_BYTES, advice).unwrap();
            }
            site.mm.thp.set_mode(mode);
            assert_eq!((site.drain(), site.get(Counter::ResPagesCollapsed)), (promoted, promoted), "{mode}");
            assert_eq!(site.is_block(0), promoted == 1);
            site.assert_contents(|page| page < 4);
        });
    }
}

/// A huge page that a write after fork has taken apart stays so while the mode is `never`.
#[test]
fn never_reunites_nothing() {
    with_site(threshold(256).config(|config| config.thp = ThpMode::Always), |site| {
        site.store_all(0..RANGE_PAGES);
        let child = site.mm.fork_space(&site.space).unwrap();
        site.store(7);
        site.mm.destroy_space(&child);
        site.mm.thp.set_mode(ThpMode::Never);
        assert_eq!(promote_range(site.mm, &site.space, BASE), Err(PromoteError::Vma));
        site.mm.thp.set_mode(ThpMode::Always);
        assert_eq!(promote_range(site.mm, &site.space, BASE), Ok(()));
        assert!(site.is_block(0));
        site.assert_contents(|_| true);
    });
}

/// A reservation is measured by a threshold of 1 that is set later, and in every other mode too: the next write takes
/// its own page of the block, not one beside it, and nothing is left that is neither promoted nor of use.
#[test]
fn a_reservation_serves_its_range_in_every_mode() {
    for (mode, threshold_later) in ThpMode::ALL.iter().map(|&mode| (mode, 512)).chain([(ThpMode::Reserve, 1)])
    {
        with_site(threshold(512), |site| {
            site.store(0);
            let block = site.leaf(0).unwrap().1;
            site.mm.thp.set_mode(mode);
            site.mm.thp.set_threshold(threshold_later).unwrap();
            site.store_all(1..RANGE_PAGES);
            let at = |page: u64| site.leaf(page).unwrap().1;
            assert_eq!([1, 511].map(at), [1, 511].map(|n| block.add(n * PAGE_SIZE)), "{mode}");
            site.mm.thp.set_mode(ThpMode::Reserve);
            assert_eq!((site.drain(), site.leaf(0)), (1, Some((Level::L2, block))), "{mode}");
            site.assert_contents(|_| true);
        });
    }
}

/// Where a block was had at the first write the reservation of another range is nobody's concern; a space without any
/// goes on as its mode says.
#[test]
fn other_ranges_follow_the_new_mode() {
    with_site(threshold(512), |site| {
        site.store(0);
        site.mm.thp.set_threshold(1).unwrap();
        site.store(RANGE_PAGES);
        site.mm.thp.set_mode(ThpMode::Never);
        site.store(2 * RANGE_PAGES);
        assert_eq!([1, 2].map(|range| site.is_block(range * RANGE_PAGES)), [true, false]);
        assert_eq!((site.get(Counter::ThpResAlloc), site.get(Counter::NrThpReserved)), (1, RANGE_PAGES - 1));
    });
}

/// What is ripe by a lower threshold, or by a mode that allows it again, is found though it sees no more faults: in
/// every space, as often as the setting changes. What is not ripe is not tried.
#[test]
fn a_lower_threshold_finds_what_is_ripe() {
    with_site(threshold(512), |site| {
        let promoted = |threshold| {
            site.mm.thp.set_threshold(threshold).unwrap();
            site.drain()
        };
        let other = site.mm.new_space().unwrap();
        let request = MmapRequest::anonymous(RANGE_BYTES, MapProt::READ | MapProt::WRITE);
        site.mm.mmap(&other, &request.fixed(BASE.raw())).unwrap();
        (0..250).for_each(|page| site.mm.write_user(&other, va(page), &[1]).unwrap());
        for (range, pages) in [(0, 300), (1, 250), (2, 199), (3, 40)] {
            site.store_all(range * RANGE_PAGES..range * RANGE_PAGES + pages);
        }
        assert_eq!([301, 300, 251, 200].map(promoted), [0, 1, 0, 2]);
        assert_eq!([0, 1, 2].map(|range| site.is_block(range * RANGE_PAGES)), [true, true, false]);
        site.mm.thp.set_mode(ThpMode::Never);
        assert_eq!(promoted(199), 0);
        site.mm.thp.set_mode(ThpMode::Reserve);
        assert_eq!((site.drain(), site.get(Counter::ResCollapseFailed)), (1, 0));
        site.mm.destroy_space(&other);
        site.assert_contents(|page| page < 300);
    });
}

/// The thread is woken by a change, and looks.
#[test]
fn the_thread_hears_of_a_change() {
    with_site(threshold(512), |site| {
        site.store_all(0..300);
        site.mm.thp.set_threshold(300).unwrap();
        crate::thp::measure::changed(site.mm);
        promoter::wait(site.mm);
        assert_eq!((site.drain(), site.is_block(0)), (1, true));
    });
}

/// PR_SET_THP_DISABLE gives up what is set aside: all of it, or, with the exception for what was advised, the rest.
/// Pages that are populated stay, and the next ones are small. A child is born with its parent's permission.
#[test]
fn disable_gives_up_reservations() {
    for (to, left) in [(ThpPermission::Granted, 4), (ThpPermission::Advised, 1), (ThpPermission::Withheld, 0)]
    {
        with_site(threshold(512), |site| {
            site.mm.madvise(&site.space, va(RANGE_PAGES).raw(), RANGE_BYTES, Advice::HugePage).unwrap();
            site.store_all((0..RANGES).map(|range| range * RANGE_PAGES));
            site.mm.set_thp_permission(&site.space, to);
            assert_eq!(site.get(Counter::NrThpReserved), left * (RANGE_PAGES - 1), "{to:?}");
            site.store_all((0..RANGES).map(|range| range * RANGE_PAGES + 1));
            assert_eq!(site.get(Counter::NrThpReserved), left * (RANGE_PAGES - 2), "{to:?}");
            site.assert_contents(|page| page < 2);
            let child = site.mm.fork_space(&site.space).unwrap();
            assert_eq!(child.thp_permission(), to);
            site.mm.destroy_space(&child);
        });
    }
}
