//! Truncation and migration, which have no M, against fork and against faults: every schedule of small cases.

use std::sync::Mutex;

use arch::model::{Bounds, Job, explore_runs, run_on_cpus};

use super::*;
use crate::Mm;
use crate::config::ThpMode;
use crate::page::{PageKind, PageRef};
use crate::rmap::{self, MoveWhat, NotMoved};
use crate::stats::Counter;

/// The object's pages.
const PAGES: u64 = 2;
/// More runs than any case has.
const RUNS: u64 = 100_000;

/// Whether the child has a table for the object's place before its entries are copied.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Neighbour {
    None,
    /// The page below is private memory.
    Below,
}

/// A space with a private mapping of an object, from page 1 on: the first page is read, the second is written.
struct Case<'c> {
    mm: &'c Mm,
    space: KArc<AddressSpace>,
    object: ObjectUse,
}

impl<'c> Case<'c> {
    fn new(mm: &'c Mm, neighbour: Neighbour) -> Self {
        let case =
            Case { mm, space: mm.new_space().unwrap(), object: mm.new_object(PAGES * PAGE_SIZE).unwrap() };
        let mapping = MmapRequest::anonymous(PAGES * PAGE_SIZE, RW).fixed(at(1).raw());
        mm.mmap_object(&case.space, &mapping, &case.object).unwrap();
        if neighbour == Neighbour::Below {
            let below = MmapRequest::anonymous(PAGE_SIZE, RW).fixed(BASE.raw());
            mm.mmap(&case.space, &below).unwrap();
            write(mm, &case.space, BASE, 5).unwrap();
        }
        case
    }
    /// The object's first page is mapped, and the private copy of its second.
    fn touched(self) -> Self {
        assert_eq!(read(self.mm, &self.space, at(1)), Ok(0));
        write(self.mm, &self.space, at(2), 7).unwrap();
        self
    }
    fn page(&self, n: u64) -> Option<PageRef> {
        let leaf = self.space.ptl.lock().walk(at(n)).leaf()?;
        Some(crate::page::page_of(leaf.desc.output(leaf.level).pfn()))
    }
    /// Everything is consistent, and nothing is lost when all ends.
    fn end(self, child: Option<KArc<AddressSpace>>, free: u64) {
        check(self.mm);
        child.iter().for_each(|child| self.mm.destroy_space(child));
        self.mm.destroy_space(&self.space);
        self.mm.close_object(self.object);
        check(self.mm);
        assert_eq!(self.mm.free_page_count(), free, "pages are missing");
    }
}

fn explore(what: &str, switches: usize, run: impl Fn(&Mm, u64)) {
    let machine = || Builder::new().ram_mib(16).config(|config| config.thp = ThpMode::Never);
    let explored = explore_runs(Bounds { switches, runs: RUNS }, || {
        machine().boot(|mm, _| run(mm, mm.free_page_count()));
    });
    println!("{what}: {explored:?}");
    assert!(explored.complete && explored.runs > 50, "{what}: {explored:?}");
}

/// While a space forks, its object is truncated to nothing and grows again: neither space keeps a page of it, nor a
/// private copy, and none is freed while it is mapped.
#[test]
fn fork_and_truncation() {
    for neighbour in [Neighbour::None, Neighbour::Below] {
        explore("fork and truncation", 1, |mm, free| {
            let (case, out) = (Case::new(mm, neighbour).touched(), Mutex::new(None));
            let jobs: Vec<Job<'_>> = vec![
                Box::new(|| *out.lock().unwrap() = Some(mm.fork_space(&case.space).unwrap())),
                Box::new(|| {
                    mm.truncate_object(&case.object, 0).unwrap();
                    mm.truncate_object(&case.object, PAGES * PAGE_SIZE).unwrap();
                }),
            ];
            run_on_cpus(jobs);
            let child = out.into_inner().unwrap().unwrap();
            check(mm);
            for space in [&case.space, &child] {
                for page in [1, 2] {
                    assert!(space.ptl.lock().walk(at(page)).leaf().is_none(), "page {page} is mapped yet");
                    assert_eq!(read(mm, space, at(page)), Ok(0), "page {page}");
                }
            }
            case.end(Some(child), free);
        });
    }
}

/// While a space forks that has a pinned private copy, the object is truncated: the child has no copy of the copy.
#[test]
fn fork_of_a_pinned_copy_and_truncation() {
    explore("fork of a pinned copy and truncation", 1, |mm, free| {
        let case = Case::new(mm, Neighbour::Below).touched();
        let pin = mm.pin_user_pages(&case.space, at(2), 1, arch::Access::Write).unwrap();
        let out = Mutex::new(None);
        let jobs: Vec<Job<'_>> = vec![
            Box::new(|| *out.lock().unwrap() = Some(mm.fork_space(&case.space).unwrap())),
            Box::new(|| mm.truncate_object(&case.object, 0).unwrap()),
        ];
        run_on_cpus(jobs);
        let child = out.into_inner().unwrap().unwrap();
        mm.unpin(pin);
        check(mm);
        assert_eq!(mm.stats.get(Counter::NrAnon), 1 + 1, "only the neighbour, in both");
        case.end(Some(child), free);
    });
}

/// Without anybody else the child of a fork has a copy of what is pinned, and goes on reading the object.
#[test]
fn a_pinned_private_copy_is_copied() {
    for neighbour in [Neighbour::None, Neighbour::Below] {
        Builder::new().ram_mib(16).config(|config| config.thp = ThpMode::Never).boot(|mm, _| {
            let free = mm.free_page_count();
            let case = Case::new(mm, neighbour).touched();
            let pin = mm.pin_user_pages(&case.space, at(2), 1, arch::Access::Write).unwrap();
            let (page, child) = (case.page(2), mm.fork_space(&case.space).unwrap());
            assert_eq!(case.page(2), page, "the parent keeps what is pinned");
            write(mm, &case.space, at(2), 8).unwrap();
            assert_eq!(case.page(2), page, "and may write to it");
            assert_eq!((read(mm, &child, at(1)), read(mm, &child, at(2))), (Ok(0), Ok(7)));
            mm.unpin(pin);
            case.end(Some(child), free);
        });
    }
}

/// While a space forks, the page of the object that it maps moves, or its private copy: no entry waits for ever for the
/// end of that.
#[test]
fn fork_and_migration() {
    for (neighbour, moved) in [Neighbour::None, Neighbour::Below].into_iter().flat_map(|n| [(n, 1), (n, 2)]) {
        explore("fork and migration", 1, |mm, free| {
            let (case, out) = (Case::new(mm, neighbour).touched(), Mutex::new(None));
            let page = case.page(moved).unwrap();
            assert_eq!(page.kind(), if moved == 1 { PageKind::Shmem } else { PageKind::Anon });
            let jobs: Vec<Job<'_>> = vec![
                Box::new(|| *out.lock().unwrap() = Some(mm.fork_space(&case.space).unwrap())),
                Box::new(|| {
                    let target = rmap::target_for(mm, page).unwrap();
                    let moved = rmap::migrate_folio(mm, page.get(), target, MoveWhat::All);
                    if let Err(NotMoved { target, .. }) = moved {
                        rmap::drop_target(mm, target);
                    }
                }),
            ];
            run_on_cpus(jobs);
            let child = out.into_inner().unwrap().unwrap();
            for (space, n) in [(&case.space, 1), (&child, 1), (&case.space, 2), (&child, 2)] {
                let migration = space.ptl.lock().walk(at(n)).migration();
                assert_eq!(migration, None, "page {n}");
            }
            check(mm);
            assert_eq!((read(mm, &child, at(1)), read(mm, &child, at(2))), (Ok(0), Ok(7)));
            case.end(Some(child), free);
        });
    }
}

/// While a private mapping is written to for the first time, the object is truncated: no copy stays beyond its end.
#[test]
fn a_private_write_and_truncation() {
    explore("a private write and truncation", 1, |mm, free| {
        let case = Case::new(mm, Neighbour::None);
        let jobs: Vec<Job<'_>> = vec![
            Box::new(|| {
                let _ = write(mm, &case.space, at(2), 9);
            }),
            Box::new(|| mm.truncate_object(&case.object, 0).unwrap()),
        ];
        run_on_cpus(jobs);
        assert_eq!(mm.stats.get(Counter::NrAnon), 0, "a copy beyond the end");
        assert!(is_beyond(read(mm, &case.space, at(2))));
        case.end(None, free);
    });
}

/// The same, where the object grows again and another writes to the new page: the copy is not one of the old page.
#[test]
fn a_private_write_and_a_new_page() {
    explore("a private write and a new page", 1, |mm, free| {
        let case = Case::new(mm, Neighbour::None);
        let other = mm.new_space().unwrap();
        map(mm, &other, &case.object, PAGES, 0, MapFlags::SHARED);
        write(mm, &other, at(1), 1).unwrap();
        let jobs: Vec<Job<'_>> = vec![
            Box::new(|| {
                let _ = write(mm, &case.space, at(2).add(8), 9);
            }),
            Box::new(|| {
                mm.truncate_object(&case.object, 0).unwrap();
                mm.truncate_object(&case.object, PAGES * PAGE_SIZE).unwrap();
            }),
        ];
        run_on_cpus(jobs);
        assert_eq!(read(mm, &case.space, at(2)), Ok(0), "a copy of what was truncated");
        mm.destroy_space(&other);
        case.end(None, free);
    });
}
