//! The flaws that are known of each scheme, as they are: what it says where the truth is another.
//!
//! Each test names the sentence of the documentation that it holds.

use arch::addr::PAGE_SIZE;
use arch::{Level, VirtAddr};

use super::machine;
use crate::config::Mapcount;
use crate::mapcount::lab::{Clear, Lab};
use crate::mapcount::{Answer, Remains, Run, Sharing};
use crate::page::PageRef;

const START: VirtAddr = VirtAddr::new(1 << 30);
/// Places of a private folio of 2 MiB and of one that objects have, in a furnished lab.
const PRIVATE: usize = 2;
const OBJECTS: usize = 4;

/// A furnished lab, and the heads of the two folios of 2 MiB.
fn with_lab(scheme: Mapcount, f: impl FnOnce(&mut Lab<'_>, PageRef, PageRef)) {
    machine().boot(|mm, _| {
        let mut lab = Lab::furnished(mm, scheme).unwrap();
        let head = |n: usize| lab.folios[n].as_ref().unwrap().head;
        let (private, object) = (head(PRIVATE), head(OBJECTS));
        f(&mut lab, private, object);
        lab.end();
    });
}

fn spaces(lab: &mut Lab<'_>, n: usize) -> Vec<usize> {
    for _ in 1..n {
        lab.bear().unwrap();
    }
    (0..n).collect()
}

/// How many spaces map the folio, and how many pages of it are mapped.
fn truth(lab: &mut Lab<'_>, folio: usize) -> (u32, u64) {
    lab.scan();
    let truth = &lab.folios[folio].as_ref().unwrap().truth;
    (truth.sharers(), truth.pages_mapped())
}

/// `rfc-v1`: truncation clears leaves and leaves the tables, so the count stays; the mark takes it back.
#[test]
fn truncation_strands_the_count() {
    for (scheme, stranded) in [(Mapcount::RfcV1, 1), (Mapcount::RfcV1Counted, 0), (Mapcount::RfcV2, 0)] {
        with_lab(scheme, |lab, _, object| {
            lab.map(0, START, OBJECTS, 0, 512).unwrap();
            lab.zap(OBJECTS, 0, 512);
            assert_eq!(truth(lab, OBJECTS), (0, 0));
            assert_eq!((lab.scheme.count(object), lab.scheme.is_mapped(object)), (stranded, stranded != 0));
            // With the last reference it is forgotten, and said how much.
            let folio = lab.folios[OBJECTS].take().unwrap();
            assert_eq!(lab.forget(&folio), stranded, "{scheme}");
            assert!(!lab.scheme.is_mapped(object));
            folio.free(lab.mm);
        });
    }
}

/// `rfc-v1`: a series of partial unmaps leaves the count raised to the last page.
#[test]
fn partial_unmaps_leave_the_count() {
    with_lab(Mapcount::RfcV1, |lab, private, _| {
        lab.map(0, START, PRIVATE, 0, 512).unwrap();
        for n in 0..512 {
            assert_eq!(lab.scheme.count(private), 1);
            let va = START.add(n * PAGE_SIZE);
            lab.clear(0, va, va.add(PAGE_SIZE), Clear::Remove);
        }
        assert_eq!(lab.scheme.count(private), 0);
    });
}

/// A walk over all entries of a folio, in the way of `folio_referenced`, which stops when it has met as many as the
/// count says. Returns how many it met.
fn walk_with_early_exit(lab: &Lab<'_>, head: PageRef) -> u32 {
    let (mut left, mut met) = (lab.scheme.count(head), 0);
    let (mut va, end) = lab.range();
    while va < end && left != 0 {
        if let Some(run) = lab.run_at(0, va, end).filter(|run| run.head == head) {
            let seen = run.entries.min(left);
            (left, met) = (left - seen, met + seen);
        }
        va = va.add(Level::L2.entry_bytes());
    }
    met
}

/// `rfc-v1`, `vma-pt`: a walk that stops at the count stops after one entry of 512; who counts entries is met in full.
#[test]
fn an_early_exit_undercounts() {
    for &scheme in Mapcount::ALL {
        with_lab(scheme, |lab, private, _| {
            lab.map(0, START, PRIVATE, 0, 512).unwrap();
            let by_entries = lab.scheme.entries(private) == Answer::Exact(512);
            assert_eq!(walk_with_early_exit(lab, private), if by_entries { 512 } else { 1 }, "{scheme}");
            let of_tops = [Mapcount::RfcV1, Mapcount::RfcV1Counted, Mapcount::VmaPt];
            assert_eq!(by_entries, !of_tops.contains(&scheme), "{scheme}");
        });
    }
}

/// `rfc-v2`: a folio that one process maps by two entries looks shared; the count of top entries beside it knows
/// better.
#[test]
fn one_process_looks_like_two() {
    for (scheme, expected) in [
        (Mapcount::RfcV2, Answer::AtMost(Sharing::Shared)),
        (Mapcount::TotalMapped, Answer::AtMost(Sharing::Shared)),
        (Mapcount::Vmacount, Answer::Exact(Sharing::Exclusive)),
        (Mapcount::RfcV1, Answer::Exact(Sharing::Exclusive)),
        (Mapcount::VmaPt, Answer::Exact(Sharing::Exclusive)),
        (Mapcount::MmOwner, Answer::Exact(Sharing::Exclusive)),
    ] {
        with_lab(scheme, |lab, private, _| {
            lab.map(0, START, PRIVATE, 0, 2).unwrap();
            assert_eq!(truth(lab, PRIVATE).0, 1);
            assert_eq!(lab.scheme.sharing(private), expected, "{scheme}");
        });
    }
}

/// `vma-pt`: two VMAs of one process, or two tables, look like two processes.
#[test]
fn two_vmas_look_like_two_processes() {
    with_lab(Mapcount::VmaPt, |lab, private, _| {
        lab.map(0, START, PRIVATE, 0, 512).unwrap();
        lab.cut(0, START.add(100 * PAGE_SIZE)).unwrap();
        assert_eq!((lab.scheme.count(private), truth(lab, PRIVATE).0), (2, 1));
        assert_eq!(lab.scheme.sharing(private), Answer::AtMost(Sharing::Shared));
        lab.join_vmas(0, 0);
        assert_eq!(lab.scheme.sharing(private), Answer::Exact(Sharing::Exclusive));
    });
}

/// What is left of the folio when space 0 unmaps one page more.
fn unmap_one(lab: &mut Lab<'_>, page: u64) -> Remains {
    let va = START.add(page * PAGE_SIZE);
    let run = lab.run_at(0, va, va.add(PAGE_SIZE)).unwrap();
    let remains = lab.scheme.remove(&run);
    lab.scheme.add(&Run { entries: 1, ..run });
    remains
}

/// `total-mapped`: where several spaces map different parts, or the same part, total is as high as if one mapped all:
/// that the folio is mapped in part is missed. Counters of pages see it.
#[test]
fn shared_folios_in_part_are_missed() {
    for (scheme, seen) in [
        (Mapcount::TotalMapped, Remains::Whole),
        (Mapcount::MmOwner, Remains::Whole),
        (Mapcount::ThpLike, Remains::Part),
    ] {
        with_lab(scheme, |lab, _, _| {
            for s in spaces(lab, 3) {
                lab.map(s, START, OBJECTS, 0, 256).unwrap();
            }
            assert_eq!(truth(lab, OBJECTS), (3, 256));
            assert_eq!(unmap_one(lab, 0), seen, "{scheme}");
        });
        // With one space all of them see it.
        with_lab(scheme, |lab, _, _| {
            lab.map(0, START, OBJECTS, 0, 256).unwrap();
            assert_eq!(unmap_one(lab, 0), Remains::Part, "{scheme}");
        });
    }
}

/// `mm-owner`: a third space is not tracked; if it is the last that maps the folio, the folio looks shared until one
/// entry is left.
#[test]
fn a_third_space_is_not_tracked() {
    with_lab(Mapcount::MmOwner, |lab, _, object| {
        for s in spaces(lab, 3) {
            lab.map(s, START, OBJECTS, 0, 8).unwrap();
            let expected = if s == 0 { Sharing::Exclusive } else { Sharing::Shared };
            assert_eq!(lab.scheme.sharing(object), Answer::Exact(expected));
        }
        // The second goes: the first has its slot, the third has none.
        lab.exit(1);
        assert_eq!(lab.scheme.sharing(object), Answer::AtMost(Sharing::Shared));
        lab.exit(0);
        assert_eq!(truth(lab, OBJECTS).0, 1);
        assert_eq!(lab.scheme.sharing(object), Answer::AtMost(Sharing::Shared), "the third is alone");
        lab.clear(2, START, START.add(7 * PAGE_SIZE), Clear::Remove);
        assert_eq!(lab.scheme.sharing(object), Answer::Exact(Sharing::Exclusive), "one entry");
        // A space that comes now gets a slot, and is tracked from its first entry on.
        lab.bear().unwrap();
        lab.map(0, START, OBJECTS, 0, 8).unwrap();
        lab.exit(2);
        assert_eq!(lab.scheme.sharing(object), Answer::Exact(Sharing::Exclusive));
    });
}

/// `thp-like`: two spaces that map different pages look like one that maps both, as far as the folio is asked; each
/// page knows.
#[test]
fn pages_know_and_the_folio_does_not() {
    with_lab(Mapcount::ThpLike, |lab, private, _| {
        let two = spaces(lab, 2);
        lab.map(two[0], START, PRIVATE, 0, 1).unwrap();
        lab.map(two[1], START.add(PAGE_SIZE), PRIVATE, 1, 1).unwrap();
        assert_eq!(lab.scheme.sharing(private), Answer::AtMost(Sharing::Shared));
        let page = |n| lab.scheme.page_sharing(private, private.nth(n));
        assert_eq!([page(0), page(1)], [Answer::Exact(Sharing::Exclusive); 2]);
    });
}
