//! Each allocation of each operation of this room fails, alone and with all that follow: nothing is lost or free twice,
//! and what was written is still there.

use arch::Order;

use super::family::*;
use crate::Mm;
use crate::config::{Number, ThpMode};
use crate::kalloc::KArc;
use crate::kalloc::inject::Failing;
use crate::page::PageKind;
use crate::rmap::{
    MoveWhat, NotMoved, Refused, compact_zone, drop_target, migrate_folio, split_folio, target_for,
};
use crate::space::{AddressSpace, MapFlags, MapProt};
use crate::testkit::{Builder, exhaust};

type Family = Vec<KArc<AddressSpace>>;

/// Runs `op` with a family whose first page reads 1, and its last 2.
fn fail<E: std::fmt::Debug>(
    machine: &Builder,
    setup: fn(&Mm) -> Family,
    op: fn(&Mm, &Family) -> Result<(), E>,
) -> u64 {
    let run = |failing| {
        let checked = |mm: &Mm, family: &Family| {
            let result = op(mm, family);
            for space in family {
                assert_eq!((load(mm, space, 0), load(mm, space, PAGES - 1)), (1, 2));
            }
            result
        };
        let undo = |mm: &Mm, family: Family| family.iter().for_each(|space| mm.destroy_space(space));
        exhaust(machine, failing, setup, checked, undo)
    };
    run(Failing::Onwards).max(run(Failing::Once))
}

fn family(mm: &Mm) -> Family {
    let parent = space(mm, PAGES, MapFlags::empty());
    store(mm, &parent, 0, 1);
    store(mm, &parent, PAGES - 1, 2);
    let child = mm.fork_space(&parent).unwrap();
    vec![parent, child]
}

/// As [`family`], and the child has a part of the block only.
fn partial(mm: &Mm) -> Family {
    let family = family(mm);
    mm.mprotect(&family[1], va(7).raw(), 4096, MapProt::READ).unwrap();
    family
}

fn migrate(mm: &Mm, family: &Family) -> Result<(), Refused> {
    let (_, head) = page(mm, &family[0], 0);
    let target = target_for(mm, head)?;
    let folio = head.try_get().unwrap();
    migrate_folio(mm, folio, target, MoveWhat::All).map_err(|NotMoved { why, target }| {
        drop_target(mm, target);
        why
    })
}

#[test]
fn migration() {
    for thp in [ThpMode::Never, ThpMode::Always] {
        assert_eq!(fail(&machine(thp), family, migrate), 1, "the target alone is allocated");
    }
}

#[test]
fn split() {
    let split = |mm: &Mm, family: &Family| {
        let (_, head) = page(mm, &family[0], 0);
        split_folio(mm, head.try_get().unwrap()).map(|_| ())
    };
    assert!(fail(&machine(ThpMode::Always), family, split) >= 2, "two blocks need two tables");
    assert!(fail(&machine(ThpMode::Always), partial, split) >= 1, "one block needs a table");
}

/// The split of what is mapped in part is what is done when memory is out, so it allocates nothing.
#[test]
fn shrinking_allocates_nothing() {
    let partly = |mm: &Mm| {
        let parent = space(mm, 2 * PAGES, MapFlags::empty());
        (0..2).for_each(|n| store(mm, &parent, n * (PAGES - 1), n + 1));
        mm.munmap(&parent, va(100).raw(), 30 * 4096).unwrap();
        vec![parent]
    };
    let shrink = |mm: &Mm, _: &Family| {
        assert_eq!(mm.reclaim(u64::MAX), 30);
        Ok::<(), ()>(())
    };
    assert_eq!(fail(&machine(ThpMode::Always), partly, shrink), 0);
}

/// So does the split of a huge page for its zeros; it takes a table from what is kept, and without one nothing is
/// split.
#[test]
fn zeros_are_given_back_without_asking_for_more() {
    let single = |mm: &Mm| {
        let space = space(mm, PAGES, MapFlags::empty());
        (0..2).for_each(|n| store(mm, &space, n * (PAGES - 1), n + 1));
        mm.thp.set(Number::MaxPtesNone, 0).unwrap();
        vec![space]
    };
    let shrink = |mm: &Mm, _: &Family| match mm.reclaim(1) {
        0 => Err(()),
        freed => {
            assert_eq!(freed, PAGES - 2);
            Ok(())
        }
    };
    assert_eq!(fail(&machine(ThpMode::Always), single, shrink), 1, "a table");
}

#[test]
fn compaction() {
    let compact = |mm: &Mm, _: &Family| {
        compact_zone(mm, Order::new(10));
        Ok::<(), ()>(())
    };
    fail(&machine(ThpMode::Never), family, compact);
}

#[test]
fn contiguous_memory() {
    let take = |mm: &Mm, family: &Family| {
        let (_, head) = page(mm, &family[0], 0);
        let block = mm.alloc_contig_at(head.pfn().align_down(Order::PMD), Order::PMD, PageKind::Kernel)?;
        mm.free_pages(block, Order::PMD);
        Ok::<(), crate::rmap::ContigError>(())
    };
    assert!(fail(&machine(ThpMode::Always), family, take) >= 1);
}
