//! What reports say of memory while it moves to other frames, or its folio is split.

use std::sync::atomic::{AtomicU64, Ordering};

use arch::VirtAddr;
use arch::model::{Bounds, explore_runs, seeds};
use mm::Mm;
use mm::config::{Mapcount, ThpMode};
use mm::hugetlb::HugeSize;
use mm::kalloc::KArc;
use mm::page::{PageRef, page_of};
use mm::report::pagemap::{EXCLUSIVE, FILE, MOVING, MOVING_SHIFT, MOVING_TO, PFN, PRESENT};
use mm::report::{Reading, Sizes};
use mm::rmap::{MoveWhat, migrate_folio, split_folio, target_for};
use mm::space::{AddressSpace, MapFlags, MmapRequest, Usage};
use mm::testkit::{Builder, check, run_on_cpus};

use crate::kit::{BASE, HUGE, PAGE, RW, machine, pages, sane};

/// What moves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum What {
    /// A page of anonymous memory.
    Page,
    /// A block of it.
    Block,
    /// A block that becomes single pages where it is.
    Split,
    /// A page of an object.
    Shmem,
    /// A page of hugetlb.
    Hugetlb,
}

impl What {
    fn bytes(self) -> u64 {
        match self {
            What::Page | What::Shmem => PAGE,
            What::Block | What::Split | What::Hugetlb => HUGE,
        }
    }

    fn machine(self) -> Builder {
        let mode = if self.bytes() == HUGE { ThpMode::Always } else { ThpMode::Never };
        machine(mode).ram_mib(16).cpus(2)
    }

    /// A space that maps it at [`BASE`], and one that fork has made of it.
    fn mapped(self, mm: &Mm) -> [KArc<AddressSpace>; 2] {
        let space = mm.new_space().unwrap();
        let request = MmapRequest::anonymous(self.bytes(), RW).fixed(BASE).with(MapFlags::POPULATE);
        let request = match self {
            What::Hugetlb => {
                assert_eq!(mm.hugetlb.set_nr(mm, HugeSize::M2, 2).persistent, 2);
                request.with(MapFlags::HUGETLB)
            }
            What::Shmem => MmapRequest { flags: MapFlags::SHARED | MapFlags::ANONYMOUS, ..request }
                .fixed(BASE)
                .with(MapFlags::POPULATE),
            _ => request,
        };
        mm.mmap(&space, &request).unwrap();
        let child = mm.fork_space(&space).unwrap();
        if self == What::Shmem {
            mm.write_user(&child, VirtAddr::new(BASE), &[1]).unwrap();
        }
        [space, child]
    }

    /// Moves it, or splits it.
    fn go(self, mm: &Mm, head: PageRef) {
        let Some(folio) = mm.try_get_folio(head.pfn()) else { panic!("{self:?} is gone") };
        if self == What::Split {
            // Who looks may hold it for a moment.
            let _ = split_folio(mm, folio);
            return;
        }
        let target = target_for(mm, head).unwrap();
        migrate_folio(mm, folio, target, MoveWhat::All).unwrap();
    }
}

/// What does not change by a move, whoever looks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Steady {
    rss: u64,
    referenced: u64,
    anonymous: u64,
    shmem: u64,
    hugetlb: u64,
    blocks: u64,
    usage: Usage,
}

fn steady(mm: &Mm, space: &AddressSpace, sizes: &Sizes, what: What) -> Steady {
    // What moves is not counted there.
    let usage = Usage { anon: 0, ..mm.usage(space) };
    // A block that is split is mapped by a table.
    let (blocks, usage) = match what {
        What::Split => (0, Usage { anon_huge: 0, tables: 0, ..usage }),
        _ => (sizes.anonymous_blocks, usage),
    };
    Steady {
        rss: sizes.rss(),
        referenced: sizes.referenced,
        anonymous: sizes.anonymous,
        shmem: sizes.shmem,
        hugetlb: sizes.private_hugetlb + sizes.shared_hugetlb,
        blocks,
        usage,
    }
}

fn locked(mm: &Mm, space: &AddressSpace) -> Sizes {
    let sizes = mm.sizes(space, VirtAddr::new(BASE), VirtAddr::new(BASE + HUGE), Reading::Locked);
    sane(&sizes);
    sizes
}

/// The words of `what`: present, or moving and nothing else. Returns how many are moving.
fn look_at_words(mm: &Mm, space: &AddressSpace, what: What, first: u64) -> u64 {
    let mut words = vec![0; (what.bytes() / PAGE) as usize];
    assert_eq!(mm.read_pagemap(space, BASE / PAGE, &mut words), words.len());
    let file = if what == What::Shmem { FILE } else { 0 };
    let mut moving = 0;
    for (n, word) in (0..).zip(words) {
        if word & MOVING != 0 {
            moving += 1;
            assert_eq!(word, MOVING | file | MOVING_TO | (first + n) << MOVING_SHIFT, "{what:?}, page {n}");
        } else {
            assert_eq!(word & !(EXCLUSIVE | PFN), PRESENT | file, "{what:?}, page {n}: {word:#x}");
        }
    }
    moving
}

/// What two spaces map moves while a reader looks at one of them, under T: all that is resident stays so. Returns how
/// many words of pagemap were moving.
fn under_a_look(mm: &Mm, env: &mm::testkit::HostEnv, what: What, looks: usize) -> u64 {
    let spaces = what.mapped(mm);
    let space = &spaces[0];
    let head = page_of(pages(space)[0].1);
    let first = head.pfn().raw();
    let before = steady(mm, space, &locked(mm, space), what);
    assert_eq!(before.rss + before.hugetlb, what.bytes());
    let moving = AtomicU64::new(0);
    let look = || {
        for _ in 0..looks {
            let sizes = locked(mm, space);
            assert_eq!(steady(mm, space, &sizes, what), before, "{what:?}");
            moving.fetch_add(look_at_words(mm, space, what, first), Ordering::Relaxed);
        }
    };
    run_on_cpus(env, vec![Box::new(|| what.go(mm, head)), Box::new(look)]);
    spaces.iter().for_each(|space| mm.destroy_space(space));
    assert_eq!(mm.hugetlb.set_nr(mm, HugeSize::M2, 0).persistent, 0);
    check(mm);
    moving.into_inner()
}

/// A look takes place at every moment of a move.
#[test]
fn a_page_is_resident_while_it_moves() {
    for what in [What::Page, What::Shmem] {
        let moving = AtomicU64::new(0);
        let explored = explore_runs(Bounds { switches: 1, runs: 20_000 }, || {
            let seen = what.machine().boot(|mm, env| under_a_look(mm, env, what, 1));
            moving.fetch_add(seen, Ordering::Relaxed);
        });
        println!("{what:?}: {explored:?}, {moving:?} words of what was moving");
        assert!(explored.complete && moving.into_inner() > 0, "{what:?}: nobody has seen it move");
    }
}

/// As above with blocks, which move, are split, or belong to hugetlb, under every way of counting.
#[test]
fn a_block_is_resident_while_it_moves() {
    for what in [What::Block, What::Split, What::Hugetlb] {
        let mut moving = 0;
        for (seed, &scheme) in seeds(24).zip(Mapcount::ALL.iter().cycle()) {
            let machine = what.machine().machine(|desc| desc.seed = seed).config(|c| c.mapcount = scheme);
            machine.boot(|mm, env| moving += under_a_look(mm, env, what, 12));
        }
        println!("{what:?}: {moving} words of what was moving");
        assert!(moving > 0, "{what:?}: nobody has seen it move");
    }
}
