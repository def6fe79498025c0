//! Folios that move and folios that are split: contents, counts, frames, refusals.

use arch::{Level, Order};

use super::family::*;
use crate::Mm;
use crate::config::{Mapcount, ThpMode};
use crate::hugetlb::HugeSize;
use crate::kalloc::KArc;
use crate::page::{PageKind, PageRef};
use crate::rmap::{
    MoveWhat, NotMoved, Refused, count_mappings, drop_target, migrate_folio, split_folio, target_for,
};
use crate::space::{AddressSpace, MapFlags, MapProt};
use crate::testkit;

/// Moves the folio to a fresh one.
fn migrate(mm: &Mm, head: PageRef, what: MoveWhat) -> Result<(), Refused> {
    let target = target_for(mm, head).unwrap();
    let folio = head.try_get().unwrap();
    migrate_folio(mm, folio, target, what).map_err(|NotMoved { why, target }| {
        drop_target(mm, target);
        why
    })
}

/// A word for page `n`.
fn word(n: u64) -> u64 {
    0xf00d_0000 + n
}

fn fill(mm: &Mm, space: &KArc<AddressSpace>) {
    (0..PAGES).for_each(|n| store(mm, space, n, word(n)));
}

fn assert_filled(mm: &Mm, space: &KArc<AddressSpace>) {
    for n in 0..PAGES {
        assert_eq!(load(mm, space, n), word(n), "page {n}");
    }
}

fn end(mm: &Mm, family: &[KArc<AddressSpace>]) {
    testkit::check(mm);
    family.iter().for_each(|space| mm.destroy_space(space));
}

/// A page, a block and a block that became a table, each mapped by one space and by three, under every way of counting:
/// everybody reads what was written, from other frames; the old ones are free, and nobody can write who could not.
#[test]
fn everybody_sees_the_same_elsewhere() {
    for &mapcount in Mapcount::ALL {
        for (thp, cut) in [(ThpMode::Never, false), (ThpMode::Always, false), (ThpMode::Always, true)] {
            let choices = with(|config| (config.thp, config.mapcount) = (thp, mapcount));
            choices.boot(|mm, _| {
                let first = space(mm, PAGES, MapFlags::empty());
                fill(mm, &first);
                if cut {
                    mm.mprotect(&first, va(7).raw(), 4096, MapProt::READ).unwrap();
                }
                let mut family = vec![first.clone()];
                for generation in 0..2 {
                    let before = mm.free_page_count();
                    let (level, output) = leaf(&first, 9).unwrap();
                    let (_, head) = page(mm, &first, 9);
                    let truth = count_mappings(mm, head);
                    migrate(mm, head, MoveWhat::All).unwrap();
                    let (now, elsewhere) = leaf(&first, 9).unwrap();
                    assert_ne!(output, elsewhere, "generation {generation}");
                    assert_eq!((level, before), (now, mm.free_page_count()));
                    assert_eq!(count_mappings(mm, page(mm, &first, 9).1), truth);
                    family.iter().for_each(|space| assert_filled(mm, space));
                    testkit::check(mm);
                    family.push(mm.fork_space(&first).unwrap());
                    family.push(mm.fork_space(&family[1]).unwrap());
                }
                // Each on his own from here on.
                store(mm, &family[2], 9, 1);
                assert_eq!((load(mm, &family[2], 9), load(mm, &family[1], 9)), (1, word(9)));
                end(mm, &family);
            });
        }
    }
}

/// A hugetlb folio moves to another one of the pool, and the first goes back there.
#[test]
fn hugetlb_moves_within_the_pool() {
    machine(ThpMode::Never).boot(|mm, _| {
        let _ = mm.hugetlb.set_nr(mm, HugeSize::M2, 3);
        let space = space(mm, PAGES, MapFlags::HUGETLB);
        fill(mm, &space);
        let counts = mm.hugetlb.counts(HugeSize::M2);
        let (_, head) = page(mm, &space, 0);
        migrate(mm, head, MoveWhat::Exclusive).unwrap();
        assert_ne!(page(mm, &space, 0).1, head);
        assert_eq!(mm.hugetlb.counts(HugeSize::M2), counts);
        assert_filled(mm, &space);
        end(mm, &[space]);
        let _ = mm.hugetlb.set_nr(mm, HugeSize::M2, 0);
    });
}

/// What each reason for a refusal looks like. Nothing has changed afterwards.
#[test]
fn refusals() {
    machine(ThpMode::Always).boot(|mm, _| {
        let space = space(mm, PAGES, MapFlags::empty());
        fill(mm, &space);
        let (_, head) = page(mm, &space, 0);
        let held = head.try_get().unwrap();
        assert_eq!(migrate(mm, head, MoveWhat::All), Err(Refused::Referenced));
        assert_eq!(split_folio(mm, head.try_get().unwrap()), Err(Refused::Referenced));
        head.set_pincount(1);
        assert_eq!(migrate(mm, head, MoveWhat::All), Err(Refused::Pinned));
        assert_eq!(split_folio(mm, head.try_get().unwrap()), Err(Refused::Pinned));
        head.set_pincount(0);
        mm.put_folio(held);
        let single = mm.alloc_pages(Order::PAGE, PageKind::Anon).unwrap();
        let NotMoved { why, target } =
            migrate_folio(mm, head.try_get().unwrap(), single, MoveWhat::All).unwrap_err();
        assert_eq!(why, Refused::Kind);
        mm.put_folio(target);
        let kernel = mm.alloc_pages(Order::PAGE, PageKind::Kernel).unwrap();
        assert_eq!(split_folio(mm, kernel.page().try_get().unwrap()), Err(Refused::Kind));
        assert_eq!(target_for(mm, kernel.page()).err(), Some(Refused::Kind));
        mm.put_folio(kernel);
        assert_eq!(leaf(&space, 0).unwrap().0, Level::L2);
        assert_filled(mm, &space);
        end(mm, &[space]);
    });
    // A page of a reservation counts on its place.
    machine(ThpMode::Reserve).boot(|mm, _| {
        let space = space(mm, PAGES, MapFlags::empty());
        store(mm, &space, 0, 1);
        let (_, head) = page(mm, &space, 0);
        assert_eq!(migrate(mm, head, MoveWhat::All), Err(Refused::Reserved));
        end(mm, &[space]);
    });
}

/// What somebody holds is neither moved nor split under any way of counting, and stays mapped as it is: where the
/// scheme cannot say how many entries there are, they are counted by a walk.
#[test]
fn what_is_held_stays_under_every_scheme() {
    for &mapcount in Mapcount::ALL {
        let choices = with(|config| (config.thp, config.mapcount) = (ThpMode::Always, mapcount));
        choices.boot(|mm, _| {
            let space = space(mm, PAGES, MapFlags::empty());
            fill(mm, &space);
            let (_, head) = page(mm, &space, 0);
            let held = head.try_get().unwrap();
            assert_eq!(migrate(mm, head, MoveWhat::All), Err(Refused::Referenced), "{mapcount:?}");
            assert_eq!((page(mm, &space, 0).1, head.refcount()), (head, 2), "{mapcount:?}");
            assert_eq!(split_folio(mm, head.get()), Err(Refused::Referenced), "{mapcount:?}");
            assert_eq!((page(mm, &space, 1).1, head.order()), (head, Order::PMD), "{mapcount:?}");
            assert_eq!(
                leaf(&space, 0).unwrap().0,
                Level::L2,
                "{mapcount:?}: nothing was unmapped to find out"
            );
            mm.put_folio(held);
            assert_filled(mm, &space);
            end(mm, &[space]);
        });
    }
}

/// Only what is known to be one space's is moved for that space alone. Which ways of counting know it of a folio that
/// 512 entries of one space map.
#[test]
fn exclusive_by_each_scheme() {
    for &mapcount in Mapcount::ALL {
        let choices = with(|config| (config.thp, config.mapcount) = (ThpMode::Always, mapcount));
        choices.boot(|mm, _| {
            let parent = space(mm, PAGES, MapFlags::empty());
            fill(mm, &parent);
            let head = || page(mm, &parent, 0).1;
            assert_eq!(migrate(mm, head(), MoveWhat::Exclusive), Ok(()), "{mapcount:?}: one block");
            mm.mprotect(&parent, va(1).raw(), 4096, MapProt::READ).unwrap();
            let knows = matches!(mapcount, Mapcount::MmOwner);
            let outcome = migrate(mm, head(), MoveWhat::Exclusive);
            let scheme = crate::mapcount::scheme(mm).sharing(head());
            assert!(!knows || outcome.is_ok(), "{mapcount:?}: {outcome:?}, {scheme:?}");
            assert!(matches!(outcome, Ok(()) | Err(Refused::Shared)));
            let child = mm.fork_space(&parent).unwrap();
            assert_eq!(migrate(mm, head(), MoveWhat::Exclusive), Err(Refused::Shared), "{mapcount:?}: two");
            assert_eq!(migrate(mm, head(), MoveWhat::All), Ok(()));
            assert_filled(mm, &child);
            end(mm, &[parent, child]);
        });
    }
}

/// A folio that blocks and pages of three spaces map becomes single pages where it is; what nobody maps is free.
#[test]
fn a_folio_is_split_where_it_is() {
    for &mapcount in Mapcount::ALL {
        let choices = with(|config| (config.thp, config.mapcount) = (ThpMode::Always, mapcount));
        choices.boot(|mm, _| {
            let first = space(mm, PAGES, MapFlags::empty());
            fill(mm, &first);
            let (_, head) = page(mm, &first, 0);
            let family = [first.clone(), mm.fork_space(&first).unwrap(), mm.fork_space(&first).unwrap()];
            mm.munmap(&family[1], va(100).raw(), 50 * 4096).unwrap();
            assert_eq!(split_folio(mm, head.try_get().unwrap()), Ok(0), "{mapcount:?}");
            for n in 0..PAGES {
                let (single, also) = page(mm, &family[2], n);
                assert_eq!((single, also, single.order()), (head.nth(n), head.nth(n), Order::PAGE));
                let entries = if (100..150).contains(&n) { 2 } else { 3 };
                assert_eq!((single.refcount(), single.raw_mapcount()), (entries, entries));
            }
            assert_filled(mm, &family[2]);
            testkit::check(mm);
            // Now each page is freed by itself.
            let free = mm.free_page_count();
            family.iter().for_each(|space| mm.munmap(space, va(200).raw(), 10 * 4096).unwrap());
            assert_eq!(mm.free_page_count(), free + 10);
            end(mm, &family);
        });
    }
}

/// What was unmapped of a folio is had back when memory is short, where the scheme noticed; what somebody holds stays
/// on the list.
#[test]
fn partly_mapped_folios_are_split_under_pressure() {
    use crate::rmap::deferred::{backlog, split_deferred};
    for &mapcount in Mapcount::ALL {
        let choices = with(|config| (config.thp, config.mapcount) = (ThpMode::Always, mapcount));
        choices.boot(|mm, _| {
            let space = space(mm, 2 * PAGES, MapFlags::empty());
            fill(mm, &space);
            store(mm, &space, PAGES, 1);
            mm.munmap(&space, va(100).raw(), 300 * 4096).unwrap();
            let noticed = backlog(mm);
            assert_eq!(noticed, 1, "{mapcount:?}: one space, so every way of counting can tell");
            testkit::check(mm);
            let held = page(mm, &space, 0).1.try_get().unwrap();
            assert_eq!((split_deferred(mm), backlog(mm)), (0, noticed));
            mm.put_folio(held);
            let free = mm.free_page_count();
            assert_eq!(mm.reclaim(u64::MAX), 300 * noticed);
            assert_eq!((mm.free_page_count(), backlog(mm)), (free + 300 * noticed, 0));
            for n in (0..100).chain(400..PAGES) {
                assert_eq!(load(mm, &space, n), word(n));
            }
            // One that is freed before leaves the list by itself.
            mm.munmap(&space, va(PAGES).raw(), 4096).unwrap();
            end(mm, &[space]);
            assert_eq!(backlog(mm), 0);
        });
    }
}

/// Somebody gets a reference after everything is unmapped: the move is undone, and everybody sees what he saw.
#[test]
fn a_reference_that_comes_meanwhile() {
    use crate::rmap::unmap::{Now, remap, unmap_to_move};
    use crate::rmap::walk::Origin;
    machine(ThpMode::Always).boot(|mm, _| {
        let parent = space(mm, PAGES, MapFlags::empty());
        fill(mm, &parent);
        let family = [parent.clone(), mm.fork_space(&parent).unwrap()];
        let (_, head) = page(mm, &parent, 0);
        let mine = head.try_get().unwrap();
        let origin = Origin::of(head);
        unmap_to_move(mm, &origin);
        assert_eq!((leaf(&parent, 0), head.refcount(), head.raw_mapcount()), (None, 1, 0));
        let late = head.try_get().unwrap();
        assert!(!head.freeze(1));
        remap(mm, &origin, Now::Folio(head));
        mm.put_folio(late);
        mm.put_folio(mine);
        assert_eq!((page(mm, &parent, 0).1, head.refcount()), (head, 2));
        family.iter().for_each(|space| assert_filled(mm, space));
        end(mm, &family);
    });
}

/// A page of an object moves under all spaces that map it, shared or as the source of private copies; the object has
/// the new one. One that is punched out meanwhile is not moved.
#[test]
fn a_page_of_an_object_moves() {
    machine(ThpMode::Never).boot(|mm, _| {
        let shared = MapFlags::from_bits_retain(1) | MapFlags::ANONYMOUS;
        let parent = mm.new_space().unwrap();
        let mut request = crate::space::MmapRequest::anonymous(4 * 4096, RW).fixed(BASE.raw());
        request.flags = shared | MapFlags::FIXED;
        mm.mmap(&parent, &request).unwrap();
        store(mm, &parent, 2, 5);
        let child = mm.fork_space(&parent).unwrap();
        assert_eq!(load(mm, &child, 2), 5);
        let (_, old) = page(mm, &parent, 2);
        assert_eq!((old.kind(), count_mappings(mm, old).entries), (PageKind::Shmem, 2));
        migrate(mm, old, MoveWhat::All).unwrap();
        let (_, new) = page(mm, &child, 2);
        assert_ne!(old, new);
        assert_eq!((page(mm, &parent, 2).1, count_mappings(mm, new).entries), (new, 2));
        store(mm, &child, 2, 6);
        assert_eq!(load(mm, &parent, 2), 6);
        let held = new.try_get().unwrap();
        assert_eq!(migrate(mm, new, MoveWhat::All), Err(Refused::Referenced));
        mm.put_folio(held);
        end(mm, &[parent, child]);
    });
}
