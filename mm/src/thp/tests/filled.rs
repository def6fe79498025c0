//! What a promotion has filled is given back where memory is short, before anybody is killed for it.

use super::races::{contend, restless};
use super::*;
use crate::config::{Contpte, Mapcount, Number, Promote, ThpMode};
use crate::kalloc::inject::Failing;
use crate::rmap::deferred::{backlog, candidates};
use crate::rmap::{MoveWhat, migrate_folio, target_for};
use crate::testkit::exhaust;

/// Ranges are promoted by the fault that populates page `pages` of them; the settings of khugepaged are the default, by
/// which no huge page is underused.
fn filling(pages: u64) -> Builder {
    threshold(pages).config(|config| {
        config.promote = Promote::Sync;
        config.hvo = crate::config::HvoStrategy::Off;
    })
}

fn head(site: &Site<'_>, page: u64) -> crate::page::PageRef {
    crate::page::page_of(site.leaf(page).unwrap().1.pfn()).head(site.mm.config.tails)
}

fn splits(site: &Site<'_>) -> [u64; 3] {
    [Counter::ThpSplitPage, Counter::ThpUnderusedSplitPage, Counter::ResPagesGivenBack].map(|c| site.get(c))
}

/// All that was filled goes back, for the table that is needed instead; what was written keeps frame and bytes, the rest
/// reads as zeros and is had again by a write. With any way of counting, folded or not.
#[test]
fn what_was_filled_is_given_back() {
    for &mapcount in Mapcount::ALL {
        for &contpte in Contpte::ALL {
            let machine =
                filling(40).config(|config| (config.mapcount, config.contpte) = (mapcount, contpte));
            with_site(machine, |site| {
                let written = |page: u64| page < 20 || page.is_multiple_of(20) && page < 420;
                site.store_all((0..RANGE_PAGES).filter(|&page| written(page)));
                let count = (0..RANGE_PAGES).filter(|&page| written(page)).count() as u64;
                assert_eq!((count, site.is_block(0), candidates(site.mm)), (40, true, 1));
                let (block, free) = (head(site, 0), site.mm.free_page_count());
                assert_eq!(site.mm.reclaim(1), RANGE_PAGES - 40, "{mapcount:?}");
                assert_eq!(site.mm.free_page_count(), free + RANGE_PAGES - 40 - 1);
                assert_eq!(splits(site), [1, 0, RANGE_PAGES - 40]);
                assert_eq!((candidates(site.mm), backlog(site.mm), site.mm.reclaim(1)), (0, 0, 0));
                site.check();
                site.assert_contents(written);
                for page in (0..RANGE_PAGES).filter(|&page| written(page)) {
                    assert_eq!(site.leaf(page).unwrap().1, block.nth(page).pfn().phys(), "page {page}");
                }
                site.store(21);
                site.assert_contents(|page| written(page) || page == 21);
            });
        }
    }
}

/// Where most was filled, a huge page goes first, however young; where as much was, the oldest; and no more than it
/// takes.
#[test]
fn where_most_was_filled_goes_first() {
    with_site(filling(200), |site| {
        let first = |range: u64| range * RANGE_PAGES;
        let populate = |range: u64, pages: u64| {
            site.mm.thp.set_threshold(pages).unwrap();
            site.store_all(first(range)..first(range) + pages);
            assert!(site.is_block(first(range)), "range {range}");
        };
        [(0, 510), (1, 400), (2, 390), (3, 2)].into_iter().for_each(|(range, pages)| populate(range, pages));
        for (freed, left) in [(510, [0, 1, 2]), (112, [0, 2, 9]), (122, [0, 9, 9]), (2, [9; 3])] {
            assert_eq!(site.mm.reclaim(1), freed);
            for range in 0..4 {
                assert_eq!(site.is_block(first(range)), left.contains(&range), "range {range} after {freed}");
            }
            site.check();
        }
        assert_eq!(site.mm.reclaim(1), 0);
    });
}

/// What was written since the promotion is no gain: such a huge page waits for its turn among those with as few, and
/// stays where the table would take what it gives. When it is one that a scan would call underused, it is a candidate
/// for that still.
#[test]
fn what_was_used_since_counts_no_more() {
    with_site(filling(4), |site| {
        site.store_all(0..4);
        site.store_all(RANGE_PAGES..RANGE_PAGES + 400);
        // 8 pages of zeros are left in the first.
        site.store_all(4..504);
        assert_eq!(site.mm.reclaim(1), RANGE_PAGES - 400);
        assert_eq!((site.is_block(0), site.is_block(RANGE_PAGES)), (true, false));
        site.check();
        site.store_all(504..511);
        assert_eq!(
            (site.mm.reclaim(1), site.is_block(0), candidates(site.mm)),
            (0, true, 1),
            "one page, for a table"
        );
        site.check();
        site.mm.thp.set(Number::MaxPtesNone, 0).unwrap();
        assert_eq!((site.mm.reclaim(1), splits(site)), (1, [2, 1, RANGE_PAGES - 400]), "underused by choice");
        site.assert_contents(|page| page < 511);
    });
}

/// Huge pages that nobody has filled by a promotion stay: those of the first fault, of a full range, and of a collapse
/// over holes.
#[test]
fn what_was_not_filled_stays() {
    let whole = |machine: Builder, populate: fn(&Site<'_>)| {
        with_site(machine, |site| {
            populate(site);
            assert!(site.is_block(0));
            assert_eq!((site.mm.reclaim(1), site.is_block(0), splits(site)), (0, true, [0; 3]));
        });
    };
    whole(filling(1), |site| site.store(0));
    whole(filling(4).config(|config| config.thp = ThpMode::Always), |site| site.store(0));
    whole(filling(512), |site| site.store_all(0..RANGE_PAGES));
    whole(filling(4).config(|config| config.thp = ThpMode::Never), |site| {
        site.store_all(0..4);
        site.mm.thp.set_mode(ThpMode::Always);
        site.mm.madvise(&site.space, BASE.raw(), RANGE_BYTES, crate::space::Advice::Collapse).unwrap();
    });
}

/// The number goes along to another frame, and over a part that is unmapped: what was filled goes with that part.
#[test]
fn what_was_filled_is_remembered() {
    with_site(filling(4), |site| {
        site.store_all(0..4);
        site.store_all(RANGE_PAGES..RANGE_PAGES + 4);
        let old = head(site, 0);
        migrate_folio(site.mm, old.try_get().unwrap(), target_for(site.mm, old).unwrap(), MoveWhat::All)
            .unwrap();
        assert_ne!(head(site, 0), old);
        assert_eq!(candidates(site.mm), 2);
        site.check();
        let part = va(RANGE_PAGES + 100);
        site.mm.munmap(&site.space, part.raw(), 10 * PAGE_SIZE).unwrap();
        assert_eq!((candidates(site.mm), backlog(site.mm)), (1, 1));
        site.check();
        assert_eq!(site.mm.reclaim(1), RANGE_PAGES - 4, "what nobody maps, and what was filled");
        assert_eq!((site.is_block(0), site.mm.reclaim(1)), (true, RANGE_PAGES - 4));
        assert_eq!((site.is_block(0), candidates(site.mm), backlog(site.mm)), (false, 0, 0));
        site.assert_contents(|page| page < 4);
    });
}

/// One that is pinned, or that a child shares, is left alone and stays a candidate.
#[test]
fn pinned_and_shared_ones_are_left_alone() {
    let machine = filling(4).config(|config| config.mapcount = Mapcount::MmOwner);
    with_site(machine, |site| {
        site.store_all(0..4);
        site.store_all(RANGE_PAGES..RANGE_PAGES + 4);
        let pins = site.mm.pin_user_pages(&site.space, va(9), 1, Access::Write).unwrap();
        let child = site.mm.fork_space(&site.space).unwrap();
        assert_eq!((site.mm.reclaim(1), splits(site)), (0, [0; 3]));
        site.mm.destroy_space(&child);
        assert_eq!((site.mm.reclaim(u64::MAX), splits(site)), (RANGE_PAGES - 4, [1, 0, RANGE_PAGES - 4]));
        site.mm.unpin(pins);
        assert_eq!(site.mm.reclaim(1), RANGE_PAGES - 4);
        site.assert_contents(|page| page < 4);
    });
}

/// Only a table is asked for, of what is kept: where there is none either, the huge page stays, and is given back when
/// there is one.
#[test]
fn no_table_leaves_it_whole() {
    let setup = |mm: &Mm| {
        let space = mm.new_space().unwrap();
        let request = MmapRequest::anonymous(RANGE_BYTES, MapProt::READ | MapProt::WRITE);
        mm.mmap(&space, &request.fixed(BASE.raw())).unwrap();
        for page in 0..4 {
            mm.write_user(&space, va(page), &word(page).to_le_bytes()).unwrap();
        }
        assert_eq!(candidates(mm), 1);
        space
    };
    let shrink = |mm: &Mm, space: &KArc<AddressSpace>| {
        let freed = mm.reclaim(1);
        for page in 0..5 {
            let mut bytes = [0; 8];
            mm.read_user(space, va(page), &mut bytes).unwrap();
            assert_eq!(u64::from_le_bytes(bytes), if page < 4 { word(page) } else { 0 });
        }
        assert_eq!(candidates(mm), u64::from(freed == 0));
        if freed == RANGE_PAGES - 4 { Ok(()) } else { Err(freed) }
    };
    for failing in [Failing::Once, Failing::Onwards] {
        let undo = |mm: &Mm, space: KArc<AddressSpace>| mm.destroy_space(&space);
        assert_eq!(exhaust(&filling(4), failing, setup, shrink, undo), 1, "a table");
    }
}

/// Two threads write, others read and give back what promotions fill, all at once: each store is seen, whether it came
/// before the split, in its midst or behind it, and no page of zeros is ever anything else.
#[test]
fn stores_and_splits_of_filled_pages() {
    for seed in model::seeds(3) {
        for pages in [2, 60] {
            with_site(restless(seed, pages), |site| {
                let up = || site.store_all((0..RANGE_PAGES).filter(|page| page % 4 == 0));
                let down = || site.store_all((0..RANGE_PAGES).rev().filter(|page| page % 4 == 2));
                let shrink = || {
                    site.drain();
                    site.mm.reclaim(1);
                };
                let read = || {
                    for page in (0..RANGE_PAGES).step_by(31) {
                        let (first, last) = site.load(page);
                        assert!(
                            last == 0 && (first == 0 || page % 2 == 0 && first == word(page)),
                            "page {page}"
                        );
                    }
                };
                contend(site, [&up, &down], &[&shrink, &read]);
                site.drain();
                site.mm.reclaim(u64::MAX);
                site.assert_contents(|page| page % 2 == 0);
            });
        }
    }
}
