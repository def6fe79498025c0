//! Collapse by copy.

use super::*;
use crate::config::ThpMode;
use crate::kalloc::inject;
use crate::page::page_of;
use crate::space::{Advice, Errno, MmapError};
use crate::testkit::run_on_cpus;

fn collapse(site: &Site<'_>) -> Result<(), MmapError> {
    site.mm.madvise(&site.space, BASE.raw(), RANGE_BYTES, Advice::Collapse)
}

/// A range of small pages: `pages` of it hold [`word`].
fn with_small(pages: impl IntoIterator<Item = u64> + Clone, f: impl FnOnce(&Site<'_>)) {
    with_site(threshold(512), |site| {
        site.mm.madvise(&site.space, BASE.raw(), RANGE_BYTES, Advice::NoHugePage).unwrap();
        site.store_all(pages);
        site.mm.madvise(&site.space, BASE.raw(), RANGE_BYTES, Advice::HugePage).unwrap();
        f(site);
    });
}

/// All pages, a few, one: what was written is there, all else reads as zeros, and nothing is left of the small pages.
#[test]
fn contents_are_kept() {
    for step in [1, 7, 511, 512] {
        with_small((0..RANGE_PAGES).step_by(step), |site| {
            collapse(site).unwrap();
            assert!(site.is_block(0));
            site.assert_contents(|page| page % step as u64 == 0);
            assert_eq!((site.get(Counter::NrAnon), site.get(Counter::NrAnonThp)), (RANGE_PAGES, 1));
            assert_eq!(site.get(Counter::ThpCollapseAlloc), 1);
            site.store_all(0..RANGE_PAGES);
            collapse(site).expect("a block is collapsed already");
            assert_eq!(site.get(Counter::ThpCollapseAlloc), 1);
        });
    }
}

/// Entries of the page of zeros count as nothing.
#[test]
fn pages_of_zeros_are_filled_in() {
    with_small([3], |site| {
        for page in [0, 5, 511] {
            assert_eq!(site.load(page).0, 0);
        }
        collapse(site).unwrap();
        assert!(site.is_block(0));
        site.assert_contents(|page| page == 3);
        let done = [Counter::ThpCollapseCopied, Counter::ThpCollapseFilled].map(|counter| site.get(counter));
        assert_eq!(done, [1, RANGE_PAGES - 1], "pages copied, and zeroed");
    });
}

/// A page that somebody holds a reference to, or that is pinned, stays where it is; afterwards it can be collapsed, and
/// meanwhile it can be written.
#[test]
fn a_referenced_page_refuses() {
    with_small(0..RANGE_PAGES, |site| {
        let held = page_of(site.leaf(9).unwrap().1.pfn()).try_get().unwrap();
        assert_eq!(collapse(site).unwrap_err().errno(), Errno::Again);
        assert!(!site.is_block(0));
        site.store_all(0..RANGE_PAGES);
        site.assert_contents(|_| true);
        site.mm.put_folio(held);
        collapse(site).unwrap();
        assert!(site.is_block(0));
        site.assert_contents(|_| true);
    });
}

/// What Linux refuses with EINVAL: nothing there at all, and memory that may have no huge page. A range without a whole
/// block is done as it is.
#[test]
fn unsuitable_ranges() {
    with_small([], |site| {
        assert_eq!(collapse(site).unwrap_err().errno(), Errno::Inval);
        let part = site.mm.madvise(&site.space, va(1).raw(), 3 * PAGE_SIZE, Advice::Collapse);
        part.expect("no block lies in the range");
        site.store_all([1]);
        site.mm.madvise(&site.space, BASE.raw(), RANGE_BYTES, Advice::NoHugePage).unwrap();
        assert_eq!(collapse(site).unwrap_err().errno(), Errno::Inval);
        site.assert_contents(|page| page == 1);
    });
}

/// After a fork the pages are shared: the collapse copies them, and the child keeps its own view.
#[test]
fn shared_pages_are_copied() {
    with_small(0..RANGE_PAGES, |site| {
        let child = site.mm.fork_space(&site.space).unwrap();
        collapse(site).unwrap();
        assert!(site.is_block(0));
        site.mm.write_user(&site.space, va(7), &1u64.to_le_bytes()).unwrap();
        let mut bytes = [0; 8];
        site.mm.read_user(&child, va(7), &mut bytes).unwrap();
        assert_eq!(u64::from_le_bytes(bytes), word(7));
        site.mm.check_all().unwrap();
        site.mm.destroy_space(&child);
        site.mm.write_user(&site.space, va(7), &word(7).to_le_bytes()).unwrap();
        site.assert_contents(|_| true);
    });
}

/// A range that has a reservation is collapsed in place, whatever the threshold and the mode: nothing is copied, what
/// nobody has touched is zeroed, and the block is the reservation's.
#[test]
fn collapse_of_a_reservation_is_in_place() {
    for (step, mode) in [(1, ThpMode::Reserve), (100, ThpMode::Reserve), (512, ThpMode::Never)] {
        with_site(threshold(512), |site| {
            site.store_all((0..RANGE_PAGES).step_by(step));
            let block = site.leaf(0).unwrap().1;
            let stored = RANGE_PAGES.div_ceil(step as u64);
            site.mm.thp.set_mode(mode);
            collapse(site).unwrap();
            assert_eq!(site.leaf(0), Some((Level::L2, block)));
            let counts = [
                Counter::ThpCollapseCopied,
                Counter::ThpCollapseAlloc,
                Counter::ResPagesCollapsed,
                Counter::ResPagesFilled,
                Counter::NrThpReserved,
            ];
            assert_eq!(counts.map(|counter| site.get(counter)), [0, 0, 1, RANGE_PAGES - stored, 0]);
            site.assert_contents(|page| page % step as u64 == 0);
        });
    }
}

/// Where a child has pages of the block the range is copied, and the reservation given up. The child collapses what it
/// shares with the reservation, which stays its parent's.
#[test]
fn a_shared_reservation_is_copied() {
    with_site(threshold(512), |site| {
        site.store_all([0, 1, 100]);
        let child = site.mm.fork_space(&site.space).unwrap();
        site.mm.madvise(&child, BASE.raw(), RANGE_BYTES, Advice::Collapse).unwrap();
        assert_eq!((site.get(Counter::ThpCollapseCopied), site.get(Counter::ThpResBroken)), (3, 0));
        site.check();
        site.mm.destroy_space(&child);
        let child = site.mm.fork_space(&site.space).unwrap();
        collapse(site).unwrap();
        assert!(site.is_block(0));
        assert_eq!([Counter::NrThpReserved, Counter::ThpResBroken].map(|c| site.get(c)), [0, 1]);
        site.assert_contents(|page| [0, 1, 100].contains(&page));
        site.mm.destroy_space(&child);
    });
}

/// A collapse that is refused leaves the range as it was, reservation and all.
#[test]
fn a_failed_collapse_keeps_the_reservation() {
    with_site(threshold(512), |site| {
        site.store_all(0..3);
        let held = page_of(site.leaf(1).unwrap().1.pfn()).try_get().unwrap();
        assert_eq!(collapse(site).unwrap_err().errno(), Errno::Again);
        assert_eq!(
            [Counter::ThpResBroken, Counter::NrThpReserved].map(|c| site.get(c)),
            [0, RANGE_PAGES - 3]
        );
        site.mm.put_folio(held);
        let block = site.leaf(0).unwrap().1;
        site.store_all(0..5);
        assert_eq!(site.leaf(4).unwrap().1, block.add(4 * PAGE_SIZE));
        collapse(site).unwrap();
        assert_eq!(site.leaf(0), Some((Level::L2, block)));
    });
}

/// Where a range is busy the next ones are collapsed all the same; where there is no memory the call ends.
#[test]
fn the_call_ends_without_memory() {
    let ranges = |site: &Site<'_>| {
        let all = site.mm.madvise(&site.space, BASE.raw(), RANGES * RANGE_BYTES, Advice::Collapse);
        let huge = (0..RANGES).filter(|range| site.is_block(range * RANGE_PAGES)).count();
        (all.map_err(|error| error.errno()), huge)
    };
    let failed = |site: &Site<'_>| {
        [Counter::ThpCollapseAllocFailed, Counter::ThpCollapseFailed].map(|counter| site.get(counter))
    };
    let small = |f: &dyn Fn(&Site<'_>)| {
        with_site(threshold(512), |site| {
            site.mm.thp.set_mode(ThpMode::Never);
            site.store_all((0..RANGES).map(|range| range * RANGE_PAGES));
            f(site);
        });
    };
    small(&|site| {
        let held = page_of(site.leaf(RANGE_PAGES).unwrap().1.pfn()).try_get().unwrap();
        assert_eq!((ranges(site), failed(site)), ((Err(Errno::Again), 3), [0, 1]));
        site.mm.put_folio(held);
    });
    small(&|site| {
        // The second range's room: its list, or its folio.
        inject::fail(3, inject::Failing::Once);
        assert_eq!((ranges(site), failed(site)), ((Err(Errno::NoMem), 1), [1, 0]));
        assert!(inject::disarm());
    });
}

/// Writers and walkers of every frame on other CPUs: no store is lost, whether the collapse succeeds or finds a page in
/// use.
#[test]
fn writers_and_walkers_beside_it() {
    for seed in model::seeds(2) {
        with_site(threshold(512).machine(|desc| desc.seed = seed), |site| {
            site.mm.madvise(&site.space, BASE.raw(), RANGE_BYTES, Advice::NoHugePage).unwrap();
            site.store_all(0..RANGE_PAGES);
            site.mm.madvise(&site.space, BASE.raw(), RANGE_BYTES, Advice::HugePage).unwrap();
            let on = |f: &dyn Fn()| {
                site.mm.activate_space(Some(&site.space));
                f();
                site.mm.activate_space(None);
            };
            let frames: Vec<_> = (0..RANGE_PAGES).map(|page| site.leaf(page).unwrap().1.pfn()).collect();
            run_on_cpus(
                site.env,
                vec![
                    Box::new(|| {
                        on(&|| {
                            for _ in 0..3 {
                                let _ = collapse(site);
                            }
                        });
                    }),
                    Box::new(|| on(&|| site.store_all(0..RANGE_PAGES))),
                    Box::new(|| {
                        for &pfn in &frames {
                            if let Some(folio) = site.mm.try_get_folio(pfn) {
                                site.mm.put_folio(folio);
                            }
                        }
                    }),
                ],
            );
            site.mm.activate_space(Some(&site.space));
            collapse(site).unwrap();
            site.assert_contents(|_| true);
        });
    }
}
