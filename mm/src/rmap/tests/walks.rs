//! A walk from a folio finds every entry that maps it and no other, whatever the family of spaces has gone through.

use std::ops::ControlFlow;

use arch::pte::Kind;

use super::family::*;
use crate::Mm;
use crate::config::{Mapcount, ThpMode};
use crate::kalloc::KArc;
use crate::rmap::{Exit, count_mappings, folio_referenced, rmap_walk, unmap_folio};
use crate::space::{AddressSpace, Advice, MapFlags, MapProt};
use crate::testkit::{self, Random};
use crate::thp::promoter;

/// What a walk from the folio finds.
fn walk(mm: &Mm, head: crate::page::PageRef) -> Vec<Entry> {
    let mut found = Vec::new();
    let ControlFlow::Continue(()) =
        rmap_walk(mm, head, |place, leaf| -> ControlFlow<std::convert::Infallible> {
            let block = u8::from(leaf.desc.kind(leaf.level) == Kind::Block);
            found.push((place.space.id, leaf.va.raw(), block, leaf.desc.output(leaf.level).pfn().raw()));
            ControlFlow::Continue(())
        });
    found.sort_unstable();
    found
}

/// Every folio against the full scan.
fn compare(mm: &Mm) {
    let mut truth = scan(mm);
    for head in folios(mm) {
        let expected = truth.remove(&head.pfn().raw()).unwrap_or_default();
        assert_eq!(walk(mm, head), expected, "entries that map {head:?}");
        assert_eq!(count_mappings(mm, head).entries, expected.len() as u64);
    }
    assert!(truth.is_empty(), "leaves that map no folio in use: {truth:x?}");
}

/// One step of a random life.
fn step(mm: &Mm, family: &mut Vec<KArc<AddressSpace>>, random: &mut Random) {
    let who = random.below(family.len() as u64) as usize;
    let space = family[who].clone();
    let (first, pages) = (random.below(3 * PAGES), 1 + random.below(700));
    let pages = pages.min(3 * PAGES - first);
    let (start, bytes) = (va(first).raw(), pages * 4096);
    match random.below(12) {
        0..4 => {
            for _ in 0..4 {
                let word = random.bits().to_le_bytes();
                let _ = mm.write_user(&space, va(random.below(3 * PAGES)), &word);
            }
        }
        4 | 5 if family.len() < 7 => family.push(mm.fork_space(&space).unwrap()),
        6 => mm.munmap(&space, start, bytes).unwrap(),
        7 => {
            let _ = mm.madvise(&space, start, bytes, Advice::DontNeed);
        }
        8 => {
            let prot = if random.below(2) == 0 { MapProt::READ } else { RW };
            let _ = mm.mprotect(&space, start, bytes, prot);
        }
        9 => {
            promoter::drain(mm);
        }
        10 if family.len() > 1 => mm.destroy_space(&family.swap_remove(who)),
        _ => {
            let mut word = [0; 8];
            let _ = mm.read_user(&space, va(first), &mut word);
        }
    }
}

/// Random families: forks, writes, partial unmapping, promotion, ends in any order.
#[test]
fn walks_see_what_a_full_scan_sees() {
    for (n, thp) in [ThpMode::Never, ThpMode::Always, ThpMode::Reserve].into_iter().enumerate() {
        let mut random = Random::for_test("walks_see_what_a_full_scan_sees", 11 + n as u64);
        machine(thp).boot(|mm, _| {
            mm.thp.set_threshold(3).unwrap();
            let mut family = vec![space(mm, 3 * PAGES, MapFlags::empty())];
            for turn in 0..150 {
                step(mm, &mut family, &mut random);
                if turn % 5 == 0 {
                    compare(mm);
                }
            }
            compare(mm);
            testkit::check(mm);
            family.iter().for_each(|space| mm.destroy_space(space));
        });
    }
}

/// A folio of 2 MiB mapped by pages, under each way of counting: the walk that stops at the count sees all of it where
/// entries are counted, and one entry where they are not.
#[test]
fn the_early_exit_trusts_the_count() {
    for &mapcount in Mapcount::ALL {
        let choices = with(|config| {
            config.thp = ThpMode::Always;
            config.mapcount = mapcount;
        });
        choices.boot(|mm, _| {
            let space = space(mm, PAGES, MapFlags::empty());
            store(mm, &space, 0, 1);
            // Cut and joined again: 512 entries of one table.
            mm.mprotect(&space, va(7).raw(), 4096, MapProt::READ).unwrap();
            mm.mprotect(&space, va(7).raw(), 4096, RW).unwrap();
            let (_, head) = page(mm, &space, 0);
            let full = folio_referenced(mm, head, Exit::Never);
            // The flag of a folded group is one; the group that was cut has 16.
            assert_eq!((full.looked_at, full.accessed), (PAGES, PAGES / 16 - 1 + 16), "{mapcount:?}");
            // The last page is used again; a walk that sees one entry does not find that out.
            store(mm, &space, PAGES - 1, 2);
            let early = folio_referenced(mm, head, Exit::AtCount);
            let undercounts = matches!(mapcount, Mapcount::RfcV1 | Mapcount::RfcV1Counted | Mapcount::VmaPt);
            let expected = if undercounts { (1, 0) } else { (PAGES, 1) };
            assert_eq!((early.looked_at, early.accessed), expected, "{mapcount:?}");
            let repaired = folio_referenced(mm, head, Exit::Never);
            assert_eq!(repaired.accessed, u64::from(undercounts), "{mapcount:?}");
            testkit::check(mm);
            mm.destroy_space(&space);
        });
    }
}

/// After the flag was cleared, a load and a store each set it again through an access flag fault, and nothing is lost.
#[test]
fn an_access_sets_the_flag_again() {
    use arch::model::{user_load, user_store};
    for thp in [ThpMode::Never, ThpMode::Always] {
        testkit::with_space(&machine(thp), |mm, _, space| {
            let request = crate::space::MmapRequest::anonymous(BLOCK, RW).fixed(BASE.raw());
            mm.mmap(space, &request).unwrap();
            user_store(va(0), 7).unwrap();
            let (_, head) = page(mm, space, 0);
            assert_eq!(folio_referenced(mm, head, Exit::Never).accessed, 1);
            assert_eq!(folio_referenced(mm, head, Exit::Never).accessed, 0);
            assert_eq!(user_load(va(0)), Ok(7));
            assert_eq!(folio_referenced(mm, head, Exit::Never).accessed, 1);
            user_store(va(0), 8).unwrap();
            assert_eq!(folio_referenced(mm, head, Exit::Never).accessed, 1);
            assert_eq!(user_load(va(0)), Ok(8));
        });
    }
}

/// Every entry of every space goes, and the spaces find zeros.
#[test]
fn unmap_takes_all_entries() {
    machine(ThpMode::Always).boot(|mm, _| {
        let parent = space(mm, PAGES, MapFlags::empty());
        store(mm, &parent, 3, 9);
        let child = mm.fork_space(&parent).unwrap();
        mm.munmap(&child, va(100).raw(), 4096).unwrap();
        let (_, head) = page(mm, &parent, 0);
        let held = head.try_get().unwrap();
        assert_eq!(count_mappings(mm, head).entries, PAGES);
        unmap_folio(mm, head);
        assert_eq!((count_mappings(mm, head).entries, head.refcount()), (0, 1));
        mm.put_folio(held);
        assert_eq!((load(mm, &parent, 3), load(mm, &child, 3)), (0, 0));
        testkit::check(mm);
        [parent, child].iter().for_each(|space| mm.destroy_space(space));
    });
}
