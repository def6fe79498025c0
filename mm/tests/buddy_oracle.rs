//! The buddy allocator against another one: `buddy_system_allocator::FrameAllocator`, which keeps its free blocks in
//! sets of numbers and has neither struct pages nor lists of CPUs nor marks.
//!
//! **When the two must agree.** A set of free frames has one decomposition into merged blocks, so two allocators that
//! merge completely and have the same frames free have the same blocks, and serve the same requests. Three things
//! stand between that and equality at every step:
//!
//! | | here |
//! |---|---|
//! | which of several blocks is given out is each one's choice, and makes the sets differ | the oracle follows: it is told to give out the very block ([`FrameAllocator::alloc_at`]); a block that it does not have free is an overlap |
//! | pages on lists of CPUs are free and not merged | an allocation drains them before it fails, so its answer is as if there were none; blocks are compared after a drain |
//! | the mark keeps pages from most kinds | a request is refused exactly where the oracle has no block, or where fewer than `min` pages would be left and its kind may not use those |
//!
//! Where all requests have one size the choice cannot matter, and the oracle makes its own. A claim of a certain
//! range is the oracle's alone: this allocator offers none.

use arch::{Order, Pfn};
use buddy_system_allocator::FrameAllocator;
use mm::Mm;
use mm::boot::Frames;
use mm::buddy::{MAX_ORDER, ORDERS, Reserve};
use mm::check::{ROOMS, Report};
use mm::config::VmemmapMap;
use mm::page::{FolioRef, PageKind, PageRef, page_of};
use mm::testkit::{Builder, Random, check};

const BASE: u64 = 0x4000_0000;
const MIB: u64 = 1 << 20;
const PAGE: u64 = 4096;

/// The shapes of RAM.
fn shapes() -> [(&'static str, Builder); 6] {
    let bank = |start: u64, end: u64| Builder::new().bank(BASE + start, BASE + end);
    [
        ("16 MiB", Builder::new().ram_mib(16)),
        ("1021 pages from the third", bank(3 * PAGE, 3 * PAGE + 4 * MIB - 3 * PAGE)),
        ("an odd bank", bank(MIB - 5 * PAGE, 13 * MIB + 7 * PAGE)),
        ("a hole of one page in each 2 MiB", holes(Builder::new().ram_mib(16), 16, 2 * MIB, PAGE)),
        ("holes everywhere", holes(Builder::new().ram_mib(12), 12, 300 * PAGE, 37 * PAGE)),
        (
            "two banks, neither aligned",
            bank(0, 5 * MIB + PAGE).bank(BASE + 9 * MIB - 3 * PAGE, BASE + 16 * MIB - PAGE),
        ),
    ]
}

/// Reserves `hole` bytes in each `stride` bytes of `mib`. No 2 MiB are left in one piece for struct pages.
fn holes(machine: Builder, mib: u64, stride: u64, hole: u64) -> Builder {
    let starts = (1..).map(|n| BASE + n * stride).take_while(|at| at + hole < BASE + mib * MIB);
    let machine = machine.config(|config| config.vmemmap = VmemmapMap::Pte);
    starts.fold(machine, |machine, at| machine.reserve(at, at + hole))
}

/// The other allocator, with the same frames.
struct Oracle {
    frames: FrameAllocator<ORDERS>,
    free: u64,
    /// The ranges that were free at first.
    ranges: Vec<Frames>,
}

impl Oracle {
    fn new(mm: &Mm) -> Self {
        mm.drain_cpu_lists();
        let mut ranges: Vec<Frames> = Vec::new();
        let frames = mm.ram().iter().flat_map(|bank| bank.iter());
        for page in frames.map(page_of).filter(|page| page.kind() == PageKind::Buddy) {
            let block = Frames::new(page.pfn(), page.order().pages());
            if !ranges.last_mut().is_some_and(|last| last.absorb(block)) {
                ranges.push(block);
            }
        }
        let mut frames = FrameAllocator::new();
        ranges.iter().for_each(|range| frames.add_frame(number(range.start), number(range.end)));
        Oracle { frames, free: ranges.iter().map(|range| range.len()).sum(), ranges }
    }

    /// Whether a block of this order can be had. Merging undoes the try.
    fn can(&mut self, order: Order) -> bool {
        let got = self.frames.alloc(order.pages() as usize);
        if let Some(at) = got {
            self.frames.dealloc(at, order.pages() as usize);
        }
        got.is_some()
    }

    /// Gives out this very block.
    fn follow(&mut self, page: PageRef, order: Order) {
        let at = number(page.pfn());
        let got = self.frames.alloc_at(at, order.pages() as usize);
        assert_eq!(got, Some(at), "{page:?} of order {order} overlaps a block in use");
        self.free -= order.pages();
    }

    fn give_back(&mut self, page: PageRef, order: Order) {
        self.frames.dealloc(number(page.pfn()), order.pages() as usize);
        self.free += order.pages();
    }

    /// Free blocks of each order: as many as can be had, the largest first.
    fn blocks(&mut self) -> [u64; ORDERS] {
        let mut blocks = [0; ORDERS];
        let mut taken = Vec::new();
        for order in (0..ORDERS).rev() {
            while let Some(at) = self.frames.alloc(1 << order) {
                taken.push((at, 1 << order));
                blocks[order] += 1;
            }
        }
        taken.into_iter().for_each(|(at, pages)| self.frames.dealloc(at, pages));
        blocks
    }
}

fn number(pfn: Pfn) -> usize {
    pfn.raw() as usize
}

/// Free pages and free blocks are the same. Only the allocator's part of the full check: pages of kind vmemmap are
/// in hand.
fn compare(mm: &Mm, oracle: &mut Oracle) {
    mm.drain_cpu_lists();
    assert_eq!(mm.buddyinfo(), oracle.blocks(), "free blocks by order");
    assert_eq!(mm.free_page_count(), oracle.free);
    for (_, room) in ROOMS.iter().filter(|(name, _)| *name == "buddy") {
        room(mm, &mut Report::default()).unwrap_or_else(|wrong| panic!("{wrong}"));
    }
}

/// One run: what is held, and both allocators.
struct Run<'t> {
    mm: &'t Mm,
    oracle: Oracle,
    held: Vec<(FolioRef, Order)>,
    refused: u64,
    kept: u64,
}

impl Run<'_> {
    fn new(mm: &Mm) -> Run<'_> {
        Run { mm, oracle: Oracle::new(mm), held: Vec::new(), refused: 0, kept: 0 }
    }

    /// Requests of kinds that stay where they are put here: the mark is for some, not for others; of one it is known
    /// that it could move, and it has free lists of its own, which shows in no answer.
    fn allocate(&mut self, order: Order, kind: PageKind) {
        let (can, free) = (self.oracle.can(order), self.oracle.free);
        let floor = self.mm.watermarks().floor(Reserve::of(kind));
        let admitted = free >= order.pages() + floor;
        match self.mm.alloc_pages(order, kind) {
            Ok(page) => {
                assert!(
                    can && admitted,
                    "{page:?} of order {order}: {free} pages are free, {floor} are kept"
                );
                assert!(page.pfn().is_aligned(order), "{page:?} of order {order}");
                self.oracle.follow(*page, order);
                self.held.push((page, order));
            }
            Err(_) => {
                assert!(
                    !(can && admitted),
                    "order {order} was refused: {free} pages are free, {floor} are kept"
                );
                self.refused += 1;
                self.kept += u64::from(can);
            }
        }
    }

    fn free(&mut self, (page, order): (FolioRef, Order)) {
        self.oracle.give_back(*page, order);
        self.mm.free_pages(page, order);
    }

    /// Makes a block into single pages, which go back one by one.
    fn split(&mut self, (page, order): (FolioRef, Order)) {
        self.held.extend(self.mm.split_page(page, order).map(|single| (single, Order::PAGE)));
    }

    fn step(&mut self, random: &mut Random) {
        let order = Order::new(random.below(ORDERS as u64).min(random.below(ORDERS as u64)) as u8);
        match random.below(16) {
            0..=2 => self.allocate(order, PageKind::Kernel),
            3..=5 => self.allocate(order, PageKind::Shmem),
            6..=8 => self.allocate(order, PageKind::Vmemmap),
            9..=14 => {
                for _ in 0..random.below(3) {
                    if let Some(block) = random.take(&mut self.held) {
                        self.free(block);
                    }
                }
            }
            _ => {
                if let Some(block) = random.take(&mut self.held) {
                    self.split(block);
                }
            }
        }
        assert_eq!(self.mm.free_page_count(), self.oracle.free, "free pages");
    }

    /// Gives everything back: the blocks of the beginning are whole again.
    fn end(mut self, random: &mut Random) {
        while let Some(block) = random.take(&mut self.held) {
            self.free(block);
        }
        self.mm.drain_cpu_lists();
        assert_eq!(self.mm.free_page_count(), self.oracle.free);
        check(self.mm);
        assert_eq!(self.mm.buddyinfo(), self.oracle.blocks());
        for (pfn, order) in self.oracle.ranges.iter().flat_map(|range| range.blocks(MAX_ORDER)) {
            let page = page_of(pfn);
            assert_eq!((page.kind(), page.order()), (PageKind::Buddy, order), "{page:?}");
        }
    }
}

/// Long random runs on every shape of RAM: each request is met or refused as the oracle says, no two blocks overlap,
/// free pages agree after each step and free blocks every so often, and all of it merges back.
#[test]
fn random_use_agrees_with_the_other_allocator() {
    for (n, (shape, machine)) in shapes().into_iter().enumerate() {
        let mut random = Random::for_test("random_use_agrees_with_the_other_allocator", 100 + n as u64);
        machine.boot(|mm, _| {
            let mut run = Run::new(mm);
            for step in 0..10_000 {
                run.step(&mut random);
                if step % 1000 == 999 {
                    compare(mm, &mut run.oracle);
                }
            }
            println!("{shape}: {} refused, {} of them by the mark", run.refused, run.kept);
            assert!(run.refused > 0 && run.kept > 0, "memory was never short");
            run.end(&mut random);
        });
    }
}

/// With requests of one size the oracle may choose its own blocks, and still both are out of memory at the same
/// request.
#[test]
fn requests_of_one_size_need_no_common_choice() {
    for (n, (shape, machine)) in shapes().into_iter().enumerate() {
        let mut random = Random::for_test("requests_of_one_size_need_no_common_choice", 200 + n as u64);
        machine.boot(|mm, _| {
            for order in (0..ORDERS as u8).map(Order::new) {
                one_size(mm, &mut random, shape, order);
            }
        });
    }
}

fn one_size(mm: &Mm, random: &mut Random, shape: &str, order: Order) {
    let mut oracle = Oracle::new(mm);
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    let mut refused = 0;
    while refused < 5 {
        match (mm.alloc_pages(order, PageKind::Vmemmap), oracle.frames.alloc(order.pages() as usize)) {
            (Ok(page), Some(at)) => {
                ours.push(page);
                theirs.push(at);
            }
            (Err(_), None) => {
                refused += 1;
                for _ in 0..random.below(20) {
                    let (Some(page), Some(at)) = (random.take(&mut ours), random.take(&mut theirs)) else {
                        break;
                    };
                    mm.free_pages(page, order);
                    oracle.frames.dealloc(at, order.pages() as usize);
                }
            }
            (ours, theirs) => panic!("{shape}, order {order}: {ours:?} here, {theirs:?} there"),
        }
    }
    ours.into_iter().for_each(|page| mm.free_pages(page, order));
    theirs.into_iter().for_each(|at| oracle.frames.dealloc(at, order.pages() as usize));
    compare(mm, &mut oracle);
}

/// Single pages that are freed by one CPU and wanted in blocks by another are merged for it: lists of CPUs hide
/// nothing from a request that would fail.
#[test]
fn lists_of_other_cpus_hide_nothing() {
    let mut random = Random::for_test("lists_of_other_cpus_hide_nothing", 300);
    Builder::new().ram_mib(12).boot(|mm, env| {
        let mut run = Run::new(mm);
        for _ in 0..20 {
            while mm.free_page_count() > 0 {
                let order = Order::new(random.below(4) as u8);
                run.allocate(order, PageKind::Vmemmap);
                run.allocate(Order::PAGE, PageKind::Vmemmap);
            }
            let some: Vec<_> = (0..200).filter_map(|_| random.take(&mut run.held)).collect();
            some.iter().for_each(|(page, order)| run.oracle.give_back(**page, *order));
            let job = || some.into_iter().for_each(|(page, order)| mm.free_pages(page, order));
            mm::testkit::run_on_cpus(env, vec![Box::new(|| ()), Box::new(job)]);
            for order in (0..6).rev().map(Order::new) {
                run.allocate(order, PageKind::Vmemmap);
            }
            assert_eq!(mm.free_page_count(), run.oracle.free);
        }
        run.end(&mut random);
    });
}
