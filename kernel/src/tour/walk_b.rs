//! Walk B: the process `hugetlb` maps a page of the pool; afterwards its folio gives back its struct pages, and gets
//! them again.
//!
//! HVO treats folios as they enter the pool, so the tour's folio enters it with HVO switched off, as the last one, and
//! is the first to be taken: the process gets it whole. Then HVO is switched on and treats it in the pool.
#![forbid(unsafe_code)]

use core::sync::atomic::{AtomicU64, Ordering};

use arch::addr::PAGE_SIZE;
use arch::contract::{FaultStatus, Privilege};
use arch::pte::PteFlags;
use arch::sync::{Rank, SpinLock};
use arch::{Access, Level, Machine, Mmu, Order, Pfn, VirtAddr};
use mm::Mm;
use mm::config::HvoStrategy;
use mm::hugetlb::Counts;
use mm::hugetlb::HugeSize;
use mm::hvo::describe::PAGES;
use mm::hvo::layout::Layout;
use mm::hvo::{Switch, VmemmapEntry, describe};
use mm::page::{Flags, PageKind, PageRef, page_of};
use mm::stats::Counter;
use mm::steps::StepKind;

use super::counters::Counters;
use super::record::{self, Recording};
use super::stop::Stop;
use super::walk_a::{check_hardware, parse, walk};
use crate::process::{self, Process};
use crate::{println, settle, show, the_mm};

/// The pool before the process began.
static POOL: SpinLock<Counts> =
    SpinLock::new(Rank(1), Counts { nr: 0, free: 0, reserved: 0, surplus: 0, overcommit: 0 });
/// The folio that the process got; 0: none.
static FOLIO: AtomicU64 = AtomicU64::new(0);

/// Performs the walk.
pub(super) fn run(mm: &'static Mm) {
    println!("\nWalk B: hugetlb page, HVO");
    FOLIO.store(0, Ordering::Relaxed);
    let size = mm.hugetlb.counts(HugeSize::M2).nr;
    if let Some(error) = grow_by_whole_folio(mm) {
        Stop::begin("B", "one more folio for the pool").check(false, format_args!("{error}"));
        return;
    }
    *POOL.lock() = mm.hugetlb.counts(HugeSize::M2);
    let status = process::run("hugetlb", &["hugetlb", "1"], Some(observe)).map(|process| process.wait());
    let mut stop = Stop::begin("B", "the process verified the page's contents, and ended");
    match status {
        Ok(status) => stop.check(status.shell_code() == 0, format_args!("it ended with {status}")),
        Err(error) => stop.check(false, format_args!("hugetlb: {error}")),
    }
    drop(stop);
    let folio = FOLIO.load(Ordering::Relaxed);
    if mm.config.hvo == HvoStrategy::Off {
        println!("    B.4 to B.9 are left out: the kernel was booted with hvo=off");
    } else if folio != 0 {
        let head = page_of(Pfn::new(folio));
        let before = describe(mm, head.pfn());
        optimise(mm, head, &before);
        restore(mm, head, size);
    }
    let back = mm.hugetlb.set_nr(mm, HugeSize::M2, size);
    if back.persistent != size {
        Stop::begin("B", "the pool").check(false, format_args!("{} folios, {size} before", back.persistent));
    }
}

/// One folio more, with struct pages of its own, in front of the free list.
fn grow_by_whole_folio(mm: &Mm) -> Option<&'static str> {
    let switch = mm.hvo.switch();
    // Off is always possible, and so is what was in force.
    let _ = mm.hvo.set_switch(mm, Switch::Off);
    let nr = mm.hugetlb.counts(HugeSize::M2).nr;
    let grown = mm.hugetlb.set_nr(mm, HugeSize::M2, nr + 1).persistent > nr;
    let _ = mm.hvo.set_switch(mm, switch);
    (!grown).then_some("there is no free block of 2 MiB")
}

fn observe(process: &Process, line: &str) {
    let mm = the_mm();
    match parse(line) {
        Some(("hugetlb-reserved", va)) => reserved(mm, process, va),
        Some(("hugetlb-mapped", va)) => mapped(mm, process, va),
        _ => {}
    }
}

fn print_pool(when: &str, counts: &Counts) {
    println!("    pool {when}: {} folios, {} free, {} promised", counts.nr, counts.free, counts.reserved);
}

/// mmap has returned.
fn reserved(mm: &Mm, process: &Process, va: VirtAddr) {
    let (before, now) = (*POOL.lock(), mm.hugetlb.counts(HugeSize::M2));
    let mut stop =
        Stop::begin("B.1", "syscall mmap(MAP_HUGETLB): a page of the pool is promised, nothing is mapped");
    if let Some(vma) = process.space().vma_at(va) {
        println!("    {vma}");
    }
    print_pool("before", &before);
    print_pool("now   ", &now);
    stop.check(
        now == Counts { reserved: before.reserved + 1, ..before },
        format_args!("one more promise was expected"),
    );
    stop.check(walk(process, va).leaf().is_none(), format_args!("{va} is mapped already"));
}

/// Every byte of the page is written.
fn mapped(mm: &Mm, process: &Process, va: VirtAddr) {
    let (before, now) = (*POOL.lock(), mm.hugetlb.counts(HugeSize::M2));
    let walk = walk(process, va);
    let mut stop = Stop::begin("B.2", "hugetlb::fault: the first touch mapped it by one block");
    show::walk(&walk);
    let Some(leaf) = walk.leaf() else {
        return stop.check(false, format_args!("{va} is not mapped"));
    };
    let frame = leaf.desc.output(leaf.level);
    check_hardware(&mut stop, va, frame);
    stop.check(leaf.level == Level::L2, format_args!("the leaf is of level {}", leaf.level));
    drop(stop);
    let mut stop =
        Stop::begin("B.3", "hugetlb::pool: the folio came from the free list, the promise is kept");
    print_pool("now   ", &now);
    let head = page_of(frame.pfn());
    show::struct_page(head, head.head(mm.config.tails));
    let kept = now.free + 1 == before.free && now.reserved == before.reserved;
    stop.check(kept, format_args!("one free folio fewer was expected"));
    stop.check(
        head.kind() == PageKind::Hugetlb && head.order() == Order::PMD,
        format_args!("it is no hugetlb folio"),
    );
    stop.check(!head.flags().contains(Flags::HVO), format_args!("it is not the folio that entered last"));
    FOLIO.store(frame.pfn().raw(), Ordering::Relaxed);
}

/// B.4 to B.8: the folio lies in the pool, and HVO treats it.
fn optimise(mm: &'static Mm, head: PageRef, before: &[VmemmapEntry; PAGES]) {
    let mut stop = Stop::begin("B.4", "hvo::optimize_folio: before; all that is needed is allocated now");
    show::vmemmap(before);
    let own = (0..PAGES).all(|n| (0..n).all(|m| before[m].output() != before[n].output()));
    stop.check(own, format_args!("two pages have the same frame"));
    stop.check(before.iter().all(is_writable), format_args!("a page cannot be written"));
    let (free, kept) = (settle::free_pages(mm), settle::kept_pages(mm));
    let counters = Counters::now(mm);
    record::start_vmemmap(head.pfn());
    let outcome = mm.hugetlb.optimize_free(mm);
    let recording = record::stop();
    stop.check(outcome.done == 1 && outcome.first_error.is_none(), format_args!("{outcome:?}"));
    drop(stop);
    layout_stop(head);
    remap_stop(&recording);
    strategy_stop(mm, &recording);
    let after = describe(mm, head.pfn());
    let mut stop = Stop::begin("B.8", "hvo: after; the freed pages are the buddy allocator's");
    show::vmemmap(&after);
    let (gained, used) = (settle::free_pages(mm) - free, settle::kept_pages(mm) - kept);
    let bytes = gained * PAGE_SIZE;
    println!(
        "    {gained} pages, {bytes} bytes freed; {used} of them HVO keeps, for tables of vmemmap or shared tails"
    );
    counters.print_moved(mm, &MOVED);
    stop.check(counters.moved(mm, Counter::TlbiVa) > 0, format_args!("nothing was flushed"));
    let layout = Layout::of(Order::PMD).map(Layout::bytes_freed);
    stop.check(layout == Ok(bytes), format_args!("{layout:?} bytes were expected"));
    stop.check(
        after[0].output() == before[0].output() && is_writable(&after[0]),
        format_args!("the head's page has changed"),
    );
    let shared = after[1..].iter().all(|entry| entry.output() == after[1].output() && !is_writable(entry));
    stop.check(shared, format_args!("pages 1 to 7 must be one frame, read-only"));
    check_struct_pages(&mut stop, mm, head);
}

fn is_writable(entry: &VmemmapEntry) -> bool {
    entry.output().is_some() && !entry.flags().contains(PteFlags::READ_ONLY)
}

/// All 512 struct pages lead to the head; it can be written, the tails of the shared page cannot.
fn check_struct_pages(stop: &mut Stop, mm: &Mm, head: PageRef) {
    let right = (0..512).filter(|&n| head.nth(n).head(mm.config.tails) == head).count();
    let write = |page: PageRef| Machine::translate(page.address(), Access::Write, Privilege::Kernel);
    let tail = write(head.nth(511));
    match tail {
        Ok(pa) => {
            println!("    {right} of 512 struct pages lead to the head; AT S1E1W of the last tail: {pa}")
        }
        Err(fault) => {
            println!("    {right} of 512 struct pages lead to the head; AT S1E1W of the last tail: {fault}")
        }
    }
    stop.check(right == 512, format_args!("a struct page leads astray"));
    stop.check(write(head).is_ok(), format_args!("the head cannot be written"));
    stop.check(matches!(tail, Err(FaultStatus::Permission(_))), format_args!("a tail can be written"));
}

fn layout_stop(head: PageRef) {
    let mut stop = Stop::begin("B.5", "hvo::layout: which pages of struct pages stay");
    match Layout::of(head.order()) {
        Ok(layout) => {
            println!(
                "    a folio of order {} has {} vmemmap pages: {} stays, {} go, {} bytes",
                layout.order(),
                layout.pages(),
                layout.kept(),
                layout.freed(),
                layout.bytes_freed()
            );
            stop.check(layout.pages() == PAGES as u64, format_args!("{PAGES} pages were expected"));
        }
        Err(refused) => stop.check(false, format_args!("{refused}")),
    }
}

fn remap_stop(recording: &Recording) {
    let mut stop = Stop::begin("B.6", "hvo::remap: during; nobody can touch what has no translation");
    let Some(during) = &recording.during else {
        return stop.check(false, format_args!("no step between break and make was seen"));
    };
    show::vmemmap(during);
    let hidden = during[1..].iter().all(|entry| entry.output().is_none());
    stop.check(
        is_writable(&during[0]) && hidden,
        format_args!("seven pages without translation were expected"),
    );
}

fn strategy_stop(mm: &Mm, recording: &Recording) {
    let mut stop =
        Stop::begin("B.7", "hvo::strategy: all other CPUs are held while entries are broken and made");
    let others = mm.env.online_cpus() - 1;
    println!(
        "    {}: {others} other CPUs were held, {} us from the first step to the last",
        mm.config.hvo,
        recording.duration() / 1000
    );
    print_steps(recording);
    let kinds =
        [(StepKind::HvoBreak, 7), (StepKind::HvoFlush, 1), (StepKind::HvoMake, 7), (StepKind::HvoEnd, 1)];
    check_steps(&mut stop, recording, &kinds);
}

/// The steps in their order, equal ones that follow each other as one.
fn print_steps(recording: &Recording) {
    let mut steps = recording.steps.iter().map(|recorded| recorded.step.kind).peekable();
    crate::print!("    steps:");
    while let Some(kind) = steps.next() {
        let mut times = 1;
        while steps.next_if_eq(&kind).is_some() {
            times += 1;
        }
        match times {
            1 => crate::print!(" {}", kind.name()),
            _ => crate::print!(" {times}x {}", kind.name()),
        }
    }
    println!();
}

/// So many steps of each kind, the kinds in this order.
fn check_steps(stop: &mut Stop, recording: &Recording, kinds: &[(StepKind, usize)]) {
    for &(kind, times) in kinds {
        let seen = recording.count(kind);
        stop.check(seen == times, format_args!("{seen} steps {}, {times} were expected", kind.name()));
    }
    let order = kinds.iter().map(|&(kind, _)| recording.position(kind));
    stop.check(order.is_sorted(), format_args!("the steps are in another order"));
}

/// What HVO counts, and what its breaks and makes cost.
const MOVED: [Counter; 9] = [
    Counter::NrHvoOptimized,
    Counter::NrVmemmapFreed,
    Counter::HvoOptimize,
    Counter::HvoRestore,
    Counter::HvoSplitPmd,
    Counter::PteStore,
    Counter::TlbiVa,
    Counter::TlbiAll,
    Counter::DsbIsh,
];

/// B.9: the folio leaves the pool, so it gets struct pages of its own again first.
fn restore(mm: &'static Mm, head: PageRef, size: u64) {
    let mut stop =
        Stop::begin("B.9", "hvo::restore: the folio leaves the pool, with struct pages of its own again");
    let counters = Counters::now(mm);
    record::start_vmemmap(head.pfn());
    let resized = mm.hugetlb.set_nr(mm, HugeSize::M2, size);
    let recording = record::stop();
    let after = describe(mm, head.pfn());
    show::vmemmap(&after);
    print_steps(&recording);
    counters.print_moved(mm, &MOVED);
    stop.check(resized.persistent == size && resized.unrestored.is_none(), format_args!("{resized:?}"));
    let own = (0..PAGES).all(|n| (0..n).all(|m| after[m].output() != after[n].output()));
    stop.check(own && after.iter().all(is_writable), format_args!("eight own, writable pages were expected"));
    let kinds = [
        (StepKind::RestoreBegin, 1),
        (StepKind::RestoreBreak, 7),
        (StepKind::RestoreFlush, 1),
        (StepKind::RestoreMake, 7),
        (StepKind::RestoreEnd, 1),
    ];
    check_steps(&mut stop, &recording, &kinds);
}
