//! Who hears that pages of a noted range were given up, and that nobody misses it: whatever gave them up, whoever had
//! them, and at whatever moment of an attempt.

use arch::model::{Bounds, Job, explore_runs, run_on_cpus};

use super::*;
use crate::config::HugePages;
use crate::config::ThpMode;
use crate::space::{Advice, MremapRequest};
use crate::testkit::check;

const RW: MapProt = MapProt::READ.union(MapProt::WRITE);

fn huge() -> Builder {
    threshold(256).config(|config| config.thp = ThpMode::Always)
}

impl Site<'_> {
    /// Drains until nothing is queued. How many ranges were promoted.
    fn drain_all(&self) -> u64 {
        std::iter::from_fn(|| (promoter::backlog(self.mm) != 0).then(|| self.drain())).take(100).sum()
    }
    /// The level of the leaf that a space has for a page of the first range.
    fn level_in(&self, space: &AddressSpace) -> Level {
        space.ptl.lock().walk(va(3)).leaf().unwrap().level
    }
    /// A huge page, a child that shares it, and a page that the parent has written since. No request is queued.
    fn shared(&self) -> KArc<AddressSpace> {
        self.store_all(0..RANGE_PAGES);
        let child = self.fork();
        self.store(3);
        assert_eq!((self.drain_all(), self.space.holes.count()), (0, 1));
        child
    }
}

/// A range becomes ripe while a child shares some of it, and no page of it was copied: the child's end brings the huge
/// page, whichever promotes, and however late it comes.
#[test]
fn a_range_without_copies_is_asked_for() {
    for promote in crate::config::Promote::ALL {
        for early in [4, RANGE_PAGES] {
            with_site(threshold(8).config(|config| config.promote = *promote), |site| {
                site.store_all(0..4);
                let child = site.fork();
                site.store_all(4..early.max(8));
                assert_eq!(site.drain_all(), 0, "the child lives");
                assert_eq!((site.get(Counter::CowCopy), site.space.holes.count()), (0, 1));
                for _ in 0..promoter::MOST_ATTEMPTS {
                    assert_eq!(site.drain(), 0);
                }
                site.mm.destroy_space(&child);
                assert_eq!((promoter::backlog(site.mm), site.drain(), site.is_block(0)), (1, 1, true));
                site.assert_contents(|page| page < early.max(8));
            });
        }
    }
}

/// Siblings share what was their parent's: the end of the one is news for the other.
#[test]
fn a_sibling_is_told() {
    with_site(huge(), |site| {
        site.store_all(0..RANGE_PAGES);
        let (first, second) = (site.fork(), site.fork());
        site.mm.munmap(&site.space, BASE.raw(), RANGE_BYTES).unwrap();
        site.mm.write_user(&first, va(3), &[7]).unwrap();
        assert_eq!(site.drain_all(), 0);
        site.mm.destroy_space(&second);
        assert_eq!((site.drain(), site.level_in(&first)), (1, Level::L2));
        site.mm.destroy_space(&first);
    });
}

/// The first space of all unmaps what its child shares: the child is told.
#[test]
fn a_child_hears_of_its_parents_munmap() {
    with_site(huge(), |site| {
        site.store_all(0..RANGE_PAGES);
        let child = site.fork();
        site.mm.write_user(&child, va(3), &[7]).unwrap();
        assert_eq!(child.holes.count(), 1);
        site.mm.munmap(&site.space, BASE.raw(), RANGE_BYTES).unwrap();
        assert_eq!((site.drain(), site.level_in(&child)), (1, Level::L2));
        site.mm.destroy_space(&child);
    });
}

/// Whatever call of the child takes its pages away, the parent is told, and is huge after one attempt.
#[test]
fn a_parent_hears_of_every_call() {
    type Call = fn(&Mm, &KArc<AddressSpace>);
    let calls: [(&str, Call); 7] = [
        ("munmap", |mm, child| mm.munmap(child, BASE.raw(), RANGE_BYTES).unwrap()),
        ("MADV_DONTNEED", |mm, child| {
            mm.madvise(child, BASE.raw(), RANGE_BYTES, Advice::DontNeed).unwrap();
        }),
        ("MADV_FREE", |mm, child| mm.madvise(child, BASE.raw(), RANGE_BYTES, Advice::Free).unwrap()),
        ("MADV_COLLAPSE", |mm, child| {
            // A block has nothing to collapse; a copy makes pages of it.
            mm.write_user(child, va(5), &[1]).unwrap();
            mm.madvise(child, BASE.raw(), RANGE_BYTES, Advice::Collapse).unwrap();
        }),
        ("mmap over it", |mm, child| {
            mm.mmap(child, &MmapRequest::anonymous(RANGE_BYTES, RW).fixed(BASE.raw())).unwrap();
        }),
        ("mremap to less", |mm, child| {
            let request = MremapRequest::from_raw(BASE.raw(), RANGES * RANGE_BYTES, PAGE_SIZE, 0, 0);
            mm.mremap(child, &request).unwrap();
            mm.munmap(child, BASE.raw(), PAGE_SIZE).unwrap();
        }),
        ("mremap elsewhere, and munmap", |mm, child| {
            let to = BASE.add(64 * RANGE_BYTES).raw();
            let request = MremapRequest::from_raw(BASE.raw(), RANGE_BYTES, RANGE_BYTES, 3, to);
            mm.mremap(child, &request).unwrap();
            mm.munmap(child, to, RANGE_BYTES).unwrap();
        }),
    ];
    for (name, call) in calls {
        with_site(huge(), |site| {
            let child = site.shared();
            call(site.mm, &child);
            assert_eq!((promoter::backlog(site.mm), site.drain()), (1, 1), "{name}");
            assert!(site.is_block(0), "{name}");
            site.mm.destroy_space(&child);
        });
    }
}

/// What a relative gives up elsewhere is no news of a noted range, and nobody is asked.
#[test]
fn other_ranges_are_no_news() {
    with_site(huge(), |site| {
        let child = site.shared();
        let failed = site.get(Counter::ResCollapseFailed);
        for page in RANGE_PAGES..RANGE_PAGES + 40 {
            site.mm.munmap(&child, va(page).raw(), PAGE_SIZE).unwrap();
        }
        assert_eq!((promoter::backlog(site.mm), site.get(Counter::ResCollapseFailed)), (0, failed));
        site.mm.destroy_space(&child);
        assert_eq!(site.drain(), 1);
    });
}

/// A note outlives an attempt that finds too few pages, and a range that becomes ripe later is noted again.
#[test]
fn a_note_survives_below_the_threshold() {
    with_site(threshold(256), |site| {
        site.store_all(0..100);
        let first = site.fork();
        site.store_all(0..100);
        let second = site.fork();
        site.mm.destroy_space(&second);
        assert_eq!((site.drain_all(), site.space.holes.count()), (0, 1));
        site.store_all(0..300);
        assert_eq!(site.drain_all(), 0);
        site.mm.destroy_space(&first);
        assert_eq!((site.drain(), site.is_block(0)), (1, true));
    });
}

/// The note of a range is lost while the thread makes an attempt at it and the child ends: in no schedule of one switch
/// does the range stay small.
#[test]
fn the_end_of_a_child_is_not_missed() {
    let run = |mm: &Mm| {
        let space = mm.new_space().unwrap();
        mm.mmap(&space, &MmapRequest::anonymous(RANGE_BYTES, RW).fixed(BASE.raw())).unwrap();
        mm.write_user(&space, va(0), &[1]).unwrap();
        mm.write_user(&space, va(1), &[1]).unwrap();
        let child = mm.fork_space(&space).unwrap();
        (0..3).for_each(|page| mm.write_user(&space, va(page), &[2]).unwrap());
        while promoter::backlog(mm) != 0 {
            promoter::drain(mm);
        }
        mm.madvise(&child, va(1).raw(), PAGE_SIZE, Advice::DontNeed).unwrap();
        assert_eq!((promoter::backlog(mm), space.holes.count()), (1, 1));
        let jobs: Vec<Job<'_>> = vec![
            Box::new(|| {
                promoter::drain(mm);
            }),
            Box::new(|| mm.destroy_space(&child)),
        ];
        run_on_cpus(jobs);
        while promoter::backlog(mm) != 0 {
            promoter::drain(mm);
        }
        let level = space.ptl.lock().walk(BASE).leaf().unwrap().level;
        mm.destroy_space(&space);
        check(mm);
        level
    };
    let missed = std::cell::Cell::new(0);
    let machine = || threshold(3).ram_mib(16).cpus(2).config(|config| config.hugepages = HugePages::NONE);
    let explored = explore_runs(Bounds { switches: 1, runs: 20_000 }, || {
        machine().boot(|mm, _| missed.set(missed.get() + u64::from(run(mm) != Level::L2)));
    });
    println!("an attempt and the end of a child: {explored:?}");
    assert!(explored.complete && explored.runs > 100, "{explored:?}");
    assert_eq!(missed.get(), 0, "schedules of {explored:?} that leave the range small");
}

/// A child that outlives its parent: the pages of the parent's reservation become its huge page where they stand, as soon
/// as it writes to one, and none is copied. Somebody who holds one of them only delays it.
#[test]
fn the_heir_of_a_reservation() {
    for held in [None, Some(77)] {
        with_site(threshold(256), |site| {
            let parent = site.mm.new_space().unwrap();
            site.mm.mmap(&parent, &MmapRequest::anonymous(RANGE_BYTES, RW).fixed(BASE.raw())).unwrap();
            (0..RANGE_PAGES).for_each(|page| {
                site.mm.write_user(&parent, va(page), &word(page).to_le_bytes()).unwrap();
            });
            let child = site.mm.fork_space(&parent).unwrap();
            site.mm.destroy_space(&parent);
            site.drain_all();
            let page_of = |page: u64| child.ptl.lock().walk(va(page)).leaf().unwrap().desc.output(Level::L3);
            let block = page_of(0);
            let held = held.map(|page| crate::page::page_of(page_of(page).pfn()).try_get().unwrap());
            site.mm.write_user(&child, va(9), &word(9).to_le_bytes()).unwrap();
            if let Some(held) = held {
                assert_eq!((site.drain(), site.level_in(&child)), (0, Level::L3));
                site.mm.put_folio(held);
            }
            assert_eq!((site.drain_all(), site.level_in(&child)), (1, Level::L2));
            assert_eq!(child.ptl.lock().walk(BASE).leaf().unwrap().desc.output(Level::L2), block);
            let counts = [Counter::CowCopy, Counter::ResPagesBroughtBack, Counter::ThpReunited];
            assert_eq!(counts.map(|counter| site.get(counter)), [0, 0, 1]);
            assert_eq!((site.get(Counter::NrAnon), site.get(Counter::NrAnonThp)), (RANGE_PAGES, 1));
            site.check();
            for page in 0..RANGE_PAGES {
                let mut bytes = [0; 8];
                site.mm.read_user(&child, va(page), &mut bytes).unwrap();
                assert_eq!(u64::from_le_bytes(bytes), word(page), "page {page}");
            }
            // It is a huge page like any other.
            let grandchild = site.mm.fork_space(&child).unwrap();
            site.mm.write_user(&child, va(1), &[1]).unwrap();
            site.mm.destroy_space(&grandchild);
            assert_eq!((site.drain_all(), site.level_in(&child)), (1, Level::L2));
            site.mm.destroy_space(&child);
        });
    }
}

/// What stands in order and is not the space's alone, or is not all of a block, is no huge page.
#[test]
fn no_heir_of_a_part() {
    for (written, huge) in [(RANGE_PAGES, true), (RANGE_PAGES - 1, false)] {
        with_site(threshold(512), |site| {
            site.store_all(0..written);
            let (first, second) = (site.fork(), site.fork());
            site.mm.munmap(&site.space, BASE.raw(), RANGE_BYTES).unwrap();
            let promote = || crate::thp::promote::promote_range(site.mm, &first, BASE);
            assert!(promote().is_err(), "two spaces have the pages");
            site.check();
            site.mm.destroy_space(&second);
            assert_eq!(promote().is_ok(), huge, "{written} pages");
            site.check();
            site.mm.destroy_space(&first);
        });
    }
}
