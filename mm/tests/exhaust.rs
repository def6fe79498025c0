//! Every allocation of every operation fails: alone, and with all that follow.
//!
//! The table [`OPERATIONS`] has each public operation that allocates, with what goes before it and how many
//! allocations it makes at least, so that an operation which the injector never reaches is found; [`NEVER_FAILS`] has
//! those that must not allocate at all, as they give memory back or run where nothing may be allocated. After each
//! failure the full check holds, and after all is given back no page and no block of the heap is missing.

use std::cell::RefCell;
use std::fmt::Debug;

use arch::{Order, PhysAddr, VirtAddr};
use mm::Mm;
use mm::config::{MmConfig, PromotionThreshold, TailEncoding, ThpMode, VmemmapMap};
use mm::hugetlb;
use mm::hugetlb::HugeSize;
use mm::hvo::{BatchOutcome, Switch};
use mm::kalloc::KArc;
use mm::kalloc::inject::Failing;
use mm::page::{FolioRef, PageKind};
use mm::pgtable::TableStock;
use mm::space::{AddressSpace, Advice, MapFlags, MapProt, MmapRequest, MremapRequest};
use mm::testkit::{Builder, exhaust};
use mm::thp::{promote, promoter, reclaim, split};

const PAGE: u64 = 4096;
const HUGE: u64 = 2 << 20;
const RW: MapProt = MapProt::READ.union(MapProt::WRITE);
const BASE: VirtAddr = VirtAddr::new(0x4000_0000);
/// A page in the middle of the first block.
const MIDDLE: u64 = BASE.raw() + 100 * PAGE;

/// What an operation works on, and what it leaves to be given back.
struct Stage {
    space: KArc<AddressSpace>,
    /// Other spaces.
    spaces: RefCell<Vec<KArc<AddressSpace>>>,
    /// Blocks of the buddy allocator.
    blocks: RefCell<Vec<FolioRef>>,
    /// Stacks: base and pages.
    stacks: RefCell<Vec<(VirtAddr, u64)>>,
}

/// Failed for the reason that this prints.
type Outcome = Result<(), String>;

struct Operation {
    name: &'static str,
    /// The huge page mode, and the threshold.
    thp: (ThpMode, u64),
    setup: fn(&Mm, &Stage),
    run: fn(&Mm, &Stage) -> Outcome,
    /// It allocates this often at least.
    least: u64,
}

const fn op(
    name: &'static str,
    thp: (ThpMode, u64),
    least: u64,
    setup: fn(&Mm, &Stage),
    run: fn(&Mm, &Stage) -> Outcome,
) -> Operation {
    Operation { name, thp, setup, run, least }
}

const NEVER: (ThpMode, u64) = (ThpMode::Never, 256);
const ALWAYS: (ThpMode, u64) = (ThpMode::Always, 256);
const MADVISE: (ThpMode, u64) = (ThpMode::Madvise, 256);
const RESERVE: (ThpMode, u64) = (ThpMode::Reserve, 256);
const AT_THREE: (ThpMode, u64) = (ThpMode::Reserve, 3);

fn said<T, E: Debug>(result: Result<T, E>) -> Outcome {
    result.map(|_| ()).map_err(|error| format!("{error:?}"))
}

fn whole(outcome: BatchOutcome) -> Outcome {
    outcome.first_error.map_or(Ok(()), |error| Err(format!("{error:?}")))
}

fn nothing(_: &Mm, _: &Stage) {}

fn map(mm: &Mm, stage: &Stage, at: u64, bytes: u64, flags: MapFlags) -> Outcome {
    said(mm.mmap(&stage.space, &MmapRequest::anonymous(bytes, RW).fixed(at).with(flags)))
}

fn remap(mm: &Mm, stage: &Stage, from: u64, bytes: u64, to: u64) -> Outcome {
    said(mm.mremap(&stage.space, &MremapRequest::from_raw(from, bytes, bytes, 3, to)))
}

/// Two ranges of 2 MiB.
fn mapped(mm: &Mm, stage: &Stage) {
    map(mm, stage, BASE.raw(), 2 * HUGE, MapFlags::empty()).unwrap();
}

/// The first page of the first range is written.
fn touched(mm: &Mm, stage: &Stage) {
    mapped(mm, stage);
    write(mm, stage, BASE.raw()).unwrap();
}

/// 32 VMAs that do not merge, so that the memory of the set is full; the first is written.
fn crowded(mm: &Mm, stage: &Stage) {
    touched(mm, stage);
    for n in 1..32 {
        map(mm, stage, BASE.raw() + 8 * n * HUGE, HUGE, MapFlags::empty()).unwrap();
    }
}

/// Three pages of the first range are written, which is the threshold.
fn ripe(mm: &Mm, stage: &Stage) {
    mapped(mm, stage);
    (0..3).for_each(|page| write(mm, stage, BASE.raw() + page * PAGE).unwrap());
}

fn write(mm: &Mm, stage: &Stage, at: u64) -> Outcome {
    said(mm.write_user(&stage.space, VirtAddr::new(at), &[7; 8]))
}

fn read(mm: &Mm, stage: &Stage, at: u64) -> Outcome {
    said(mm.read_user(&stage.space, VirtAddr::new(at), &mut [0; 8]))
}

fn resize(mm: &Mm, pages: u64) -> Outcome {
    let resized = mm.hugetlb.set_nr(mm, HugeSize::M2, pages);
    let good = resized.persistent == pages && resized.unoptimized.is_none() && resized.unrestored.is_none();
    if good { Ok(()) } else { Err(format!("{resized:?}")) }
}

fn pool(mm: &Mm, _: &Stage) {
    resize(mm, 2).unwrap();
}

/// A pool that is not optimised.
fn plain_pool(mm: &Mm, stage: &Stage) {
    mm.hvo.set_switch(mm, Switch::Off).unwrap();
    pool(mm, stage);
}

fn hugetlb_vma(mm: &Mm, stage: &Stage) {
    pool(mm, stage);
    map(mm, stage, BASE.raw(), 2 * HUGE, MapFlags::HUGETLB).unwrap();
}

fn keep(stage: &Stage, page: FolioRef) {
    stage.blocks.borrow_mut().push(page);
}

fn stack(mm: &Mm, stage: &Stage, pages: u64) -> Outcome {
    said(mm.alloc_stack(pages).map(|base| stage.stacks.borrow_mut().push((base, pages))))
}

/// Each operation that may run out of memory.
const OPERATIONS: &[Operation] = &[
    op("new_space", NEVER, 2, nothing, |mm, stage| {
        said(mm.new_space().map(|space| stage.spaces.borrow_mut().push(space)))
    }),
    op("mmap: the first", NEVER, 1, nothing, |mm, stage| map(mm, stage, BASE.raw(), PAGE, MapFlags::empty())),
    op("mmap: in the middle of another", NEVER, 1, crowded, |mm, stage| {
        map(mm, stage, MIDDLE, PAGE, MapFlags::NORESERVE)
    }),
    op("mmap: in the middle of a block", ALWAYS, 2, crowded, |mm, stage| {
        map(mm, stage, MIDDLE, PAGE, MapFlags::NORESERVE)
    }),
    op("mmap: in the middle of a reservation", RESERVE, 1, crowded, |mm, stage| {
        map(mm, stage, MIDDLE, PAGE, MapFlags::NORESERVE)
    }),
    op("mmap: where nothing may be", NEVER, 1, crowded, |mm, stage| {
        map(mm, stage, BASE.raw() + 6 * HUGE, PAGE, MapFlags::FIXED_NOREPLACE | MapFlags::NORESERVE)
    }),
    op("mmap: populate pages", NEVER, 8, nothing, |mm, stage| {
        map(mm, stage, BASE.raw(), 4 * PAGE, MapFlags::POPULATE)
    }),
    op("mmap: populate blocks", ALWAYS, 6, nothing, |mm, stage| {
        map(mm, stage, BASE.raw(), 2 * HUGE, MapFlags::POPULATE)
    }),
    op("mmap: hugetlb", NEVER, 1, pool, |mm, stage| map(mm, stage, BASE.raw(), 2 * HUGE, MapFlags::HUGETLB)),
    op("mmap: populate hugetlb", NEVER, 5, pool, |mm, stage| {
        map(mm, stage, BASE.raw(), 2 * HUGE, MapFlags::HUGETLB | MapFlags::POPULATE)
    }),
    op("fault: a read", NEVER, 3, mapped, |mm, stage| read(mm, stage, MIDDLE)),
    op("fault: a write", NEVER, 4, mapped, |mm, stage| write(mm, stage, MIDDLE)),
    op(
        "fault: a write to the page of zeros",
        NEVER,
        1,
        |mm, stage| {
            mapped(mm, stage);
            read(mm, stage, MIDDLE).unwrap();
        },
        |mm, stage| write(mm, stage, MIDDLE),
    ),
    op("fault: a block", ALWAYS, 3, mapped, |mm, stage| write(mm, stage, MIDDLE)),
    op(
        "fault: a block that was asked for",
        MADVISE,
        3,
        |mm, stage| {
            mapped(mm, stage);
            mm.madvise(&stage.space, BASE.raw(), HUGE, Advice::HugePage).unwrap();
        },
        |mm, stage| write(mm, stage, MIDDLE),
    ),
    op("fault: a block at threshold 1", (ThpMode::Reserve, 1), 3, mapped, |mm, stage| {
        write(mm, stage, MIDDLE)
    }),
    op("fault: a reservation", RESERVE, 4, mapped, |mm, stage| write(mm, stage, MIDDLE)),
    op("fault: pages of a reservation", RESERVE, 4, mapped, |mm, stage| {
        (0..3).try_for_each(|page| write(mm, stage, MIDDLE + page * PAGE))
    }),
    op(
        "fault: with a reservation to give up",
        RESERVE,
        2,
        |mm, stage| {
            touched(mm, stage);
            mm.madvise(&stage.space, BASE.raw() + HUGE, HUGE, Advice::NoHugePage).unwrap();
        },
        |mm, stage| write(mm, stage, MIDDLE + HUGE),
    ),
    op(
        "fault: the threshold",
        AT_THREE,
        1,
        |mm, stage| {
            touched(mm, stage);
            write(mm, stage, MIDDLE).unwrap();
        },
        |mm, stage| write(mm, stage, MIDDLE + PAGE),
    ),
    op("fault: hugetlb", NEVER, 2, hugetlb_vma, |mm, stage| write(mm, stage, MIDDLE)),
    op(
        "fault: hugetlb without a promise",
        NEVER,
        2,
        |mm, stage| {
            pool(mm, stage);
            map(mm, stage, BASE.raw(), HUGE, MapFlags::HUGETLB | MapFlags::NORESERVE).unwrap();
        },
        |mm, stage| write(mm, stage, MIDDLE),
    ),
    op("mremap: from the middle, page by page", NEVER, 3, crowded, |mm, stage| {
        remap(mm, stage, BASE.raw() + PAGE * 3, 4 * PAGE, BASE.raw() + (1 << 40))
    }),
    op("mremap: a block that must be split", ALWAYS, 5, crowded, |mm, stage| {
        remap(mm, stage, BASE.raw(), HUGE + PAGE, BASE.raw() + (1 << 40) + PAGE)
    }),
    op("mremap: a block as it is", ALWAYS, 2, crowded, |mm, stage| {
        remap(mm, stage, BASE.raw(), HUGE, BASE.raw() + (1 << 40))
    }),
    op("mprotect: cuts VMAs", NEVER, 1, crowded, |mm, stage| {
        said(mm.mprotect(&stage.space, MIDDLE, 2 * PAGE, MapProt::READ))
    }),
    op("mprotect: cuts a block", ALWAYS, 2, crowded, |mm, stage| {
        said(mm.mprotect(&stage.space, MIDDLE, 2 * PAGE, MapProt::READ))
    }),
    op(
        "mprotect: cuts two blocks",
        ALWAYS,
        2,
        |mm, stage| {
            touched(mm, stage);
            write(mm, stage, BASE.raw() + HUGE).unwrap();
        },
        |mm, stage| said(mm.mprotect(&stage.space, MIDDLE, HUGE, MapProt::READ)),
    ),
    op("munmap: cuts VMAs", NEVER, 1, crowded, |mm, stage| said(mm.munmap(&stage.space, MIDDLE, PAGE))),
    op("munmap: cuts a block", ALWAYS, 2, crowded, |mm, stage| said(mm.munmap(&stage.space, MIDDLE, PAGE))),
    op(
        "munmap: cuts two blocks",
        ALWAYS,
        2,
        |mm, stage| {
            touched(mm, stage);
            write(mm, stage, BASE.raw() + HUGE).unwrap();
        },
        |mm, stage| said(mm.munmap(&stage.space, MIDDLE, HUGE)),
    ),
    op("madvise: MADV_DONTNEED cuts a block", ALWAYS, 1, crowded, |mm, stage| {
        said(mm.madvise(&stage.space, MIDDLE, PAGE, Advice::DontNeed))
    }),
    op("madvise: MADV_HUGEPAGE cuts VMAs", NEVER, 1, crowded, |mm, stage| {
        said(mm.madvise(&stage.space, MIDDLE, PAGE, Advice::HugePage))
    }),
    op("madvise: MADV_NOHUGEPAGE cuts a reservation", RESERVE, 1, crowded, |mm, stage| {
        said(mm.madvise(&stage.space, MIDDLE, PAGE, Advice::NoHugePage))
    }),
    op(
        "brk: grows",
        NEVER,
        1,
        |mm, stage| mm.set_brk_start(&stage.space, BASE),
        |mm, stage| {
            let end = BASE.raw() + 5 * PAGE;
            if mm.brk(&stage.space, end).raw() == end { Ok(()) } else { Err("brk".into()) }
        },
    ),
    op(
        "brk: shrinks through a block",
        ALWAYS,
        1,
        |mm, stage| {
            mm.set_brk_start(&stage.space, BASE);
            assert_eq!(mm.brk(&stage.space, BASE.raw() + HUGE).raw(), BASE.raw() + HUGE);
            write(mm, stage, MIDDLE).unwrap();
        },
        |mm, stage| {
            if mm.brk(&stage.space, MIDDLE).raw() == MIDDLE { Ok(()) } else { Err("brk".into()) }
        },
    ),
    op("write_user: two pages", NEVER, 5, mapped, |mm, stage| {
        said(mm.write_user(&stage.space, VirtAddr::new(MIDDLE - 4), &[7; 8]))
    }),
    op("split_at", ALWAYS, 1, touched, |mm, stage| {
        said(split::split_at(mm, &stage.space, VirtAddr::new(MIDDLE)))
    }),
    op("hugetlb: grows, with HVO", NEVER, 2, nothing, |mm, _| resize(mm, 2)),
    op(
        "hugetlb: grows, without HVO",
        NEVER,
        2,
        |mm, _| mm.hvo.set_switch(mm, Switch::Off).unwrap(),
        |mm, _| resize(mm, 2),
    ),
    op("hugetlb: shrinks", NEVER, 14, pool, |mm, _| resize(mm, 0)),
    op("hugetlb: restores its free folios", NEVER, 14, pool, |mm, _| whole(mm.hugetlb.restore_free(mm))),
    op("hugetlb: restores and optimises", NEVER, 14, pool, |mm, _| {
        let restored = whole(mm.hugetlb.restore_free(mm));
        restored.and(whole(mm.hugetlb.optimize_free(mm)))
    }),
    op("alloc_stack", NEVER, 7, nothing, |mm, stage| stack(mm, stage, 4)),
    op("alloc_stack: two sizes", NEVER, 23, nothing, |mm, stage| {
        stack(mm, stage, 1)?;
        stack(mm, stage, 16)
    }),
    op("map_device: pages", NEVER, 3, nothing, |mm, _| {
        said(mm.map_device(PhysAddr::new(0x900_0000), 3 * PAGE))
    }),
    op("map_device: blocks and pages", NEVER, 6, nothing, |mm, _| {
        said(mm.map_device(PhysAddr::new(0x800_0000 + HUGE - PAGE), 2 * HUGE + 2 * PAGE))
    }),
    op("alloc_pages", NEVER, 1, nothing, |mm, stage| {
        said(mm.alloc_pages(Order::new(3), PageKind::Kernel).map(|page| keep(stage, page)))
    }),
    op("TableStock", NEVER, 3, nothing, |mm, _| said(TableStock::new(mm, 3))),
    op("KArc", NEVER, 1, nothing, |_, _| said(KArc::try_new([0_u64; 8]))),
];

/// Each operation that must not allocate.
const NEVER_FAILS: &[Operation] = &[
    op("munmap of everything", ALWAYS, 0, crowded, |mm, stage| {
        said(mm.munmap(&stage.space, BASE.raw(), 32 * HUGE))
    }),
    op("mprotect of everything", ALWAYS, 0, touched, |mm, stage| {
        said(mm.mprotect(&stage.space, BASE.raw(), 2 * HUGE, MapProt::READ))
    }),
    op("MADV_DONTNEED of pages", NEVER, 0, touched, |mm, stage| {
        said(mm.madvise(&stage.space, BASE.raw(), PAGE, Advice::DontNeed))
    }),
    op("promotion, queued", AT_THREE, 0, ripe, |mm, _| {
        assert_eq!(promoter::drain(mm), 1);
        Ok(())
    }),
    op("promotion, asked for", AT_THREE, 0, ripe, |mm, stage| {
        said(promote::promote_range(mm, &stage.space, BASE))
    }),
    op("release of reservations", RESERVE, 0, touched, |mm, _| {
        assert_eq!(reclaim::drop_reservations(mm), 511);
        Ok(())
    }),
    op("a page of a reservation", RESERVE, 0, touched, |mm, stage| write(mm, stage, MIDDLE)),
    op("hugetlb: a promise", NEVER, 0, pool, |mm, _| {
        let promised = hugetlb::reserve(mm, HugeSize::M2, 2);
        hugetlb::unreserve(mm, HugeSize::M2, 2);
        said(promised)
    }),
    op("hugetlb: shrinks, without HVO", NEVER, 0, plain_pool, |mm, _| resize(mm, 0)),
    op(
        "hugetlb: munmap",
        NEVER,
        0,
        |mm, stage| {
            hugetlb_vma(mm, stage);
            write(mm, stage, MIDDLE).unwrap();
        },
        |mm, stage| said(mm.munmap(&stage.space, BASE.raw(), 2 * HUGE)),
    ),
    op(
        "exit",
        RESERVE,
        0,
        |mm, stage| {
            let space = mm.new_space().unwrap();
            mm.mmap(&space, &MmapRequest::anonymous(2 * HUGE, RW).fixed(BASE.raw())).unwrap();
            mm.write_user(&space, BASE, &[1; 3 * PAGE as usize]).unwrap();
            stage.spaces.borrow_mut().push(space);
        },
        |mm, stage| {
            stage.spaces.borrow_mut().drain(..).for_each(|space| mm.destroy_space(&space));
            Ok(())
        },
    ),
    op(
        "free_stack",
        NEVER,
        0,
        |mm, stage| stack(mm, stage, 8).unwrap(),
        |mm, stage| {
            stage.stacks.borrow_mut().drain(..).for_each(|(base, pages)| mm.free_stack(base, pages));
            Ok(())
        },
    ),
    op("switching to a space", NEVER, 0, touched, |mm, stage| {
        mm.activate_space(Some(&stage.space));
        mm.activate_space(None);
        Ok(())
    }),
];

impl Stage {
    fn new(mm: &Mm) -> Self {
        let space = mm.new_space().unwrap();
        Stage { space, spaces: RefCell::default(), blocks: RefCell::default(), stacks: RefCell::default() }
    }

    fn give_back(self, mm: &Mm) {
        self.spaces.into_inner().iter().chain([&self.space]).for_each(|space| mm.destroy_space(space));
        self.blocks.into_inner().into_iter().for_each(|page| mm.put_folio(page));
        self.stacks.into_inner().into_iter().for_each(|(base, pages)| mm.free_stack(base, pages));
        assert_eq!(mm.hugetlb.set_nr(mm, HugeSize::M2, 0).persistent, 0);
    }
}

/// Runs an operation on one machine. Returns how many allocations were failed.
fn failures(operation: &Operation, config: MmConfig, failing: Failing) -> u64 {
    let Operation { thp, setup, run, .. } = operation;
    let machine = Builder::new().ram_mib(12).cpus(1).config(|boot| {
        *boot = config;
        boot.thp = thp.0;
        boot.promotion_threshold = PromotionThreshold::new(thp.1).unwrap();
    });
    let prepare = |mm: &Mm| {
        let stage = Stage::new(mm);
        setup(mm, &stage);
        stage
    };
    exhaust(&machine, failing, prepare, run, |mm, stage| stage.give_back(mm))
}

fn configs() -> impl Iterator<Item = MmConfig> {
    let with = |&vmemmap, &tails| MmConfig { vmemmap, tails, ..MmConfig::default() };
    VmemmapMap::ALL
        .iter()
        .flat_map(move |vmemmap| TailEncoding::ALL.iter().map(move |tails| with(vmemmap, tails)))
}

/// Runs all operations on every configuration, and says how many allocations of each were failed.
fn run_all(failing: Failing) {
    let mut too_few = Vec::new();
    let mut all = 0;
    for operation in OPERATIONS {
        let counts: Vec<u64> = configs().map(|config| failures(operation, config, failing)).collect();
        println!("{:<46} {counts:?} allocations were failed", operation.name);
        all += counts.iter().sum::<u64>();
        if counts.iter().any(|&count| count < operation.least) {
            too_few.push((operation.name, operation.least, counts));
        }
    }
    println!("{failing:?}: {} operations, {all} failures", OPERATIONS.len());
    assert!(too_few.is_empty(), "the injector did not reach: {too_few:#?}");
}

/// One allocation fails, each in turn; the others before and after it are met.
#[test]
fn each_allocation_may_fail() {
    run_all(Failing::Once);
}

/// Memory is out from one allocation on, each in turn, also for what the operation does to undo itself.
#[test]
fn memory_may_run_out_at_each_allocation() {
    run_all(Failing::Onwards);
}

/// What gives memory back, and what runs where nothing may be allocated, allocates nothing.
#[test]
fn what_gives_back_allocates_nothing() {
    for operation in NEVER_FAILS {
        for config in configs() {
            assert_eq!(failures(operation, config, Failing::Onwards), 0, "{} allocates", operation.name);
        }
    }
}
