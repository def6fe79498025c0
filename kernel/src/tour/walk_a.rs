//! Walk A: the process `walka` writes 512 pages, one after another, and its range becomes a huge page in place.
//!
//! The process tells where it is (`tests/programs/walka.c`); the observer runs in its system call, on its thread, so
//! its tables are the ones in force on this CPU.
#![forbid(unsafe_code)]

use core::fmt::Write;

use arch::contract::Privilege;
use arch::pte::Kind;
use arch::sync::{Rank, SpinLock};
use arch::{Access, Level, Machine, Mmu, Order, Pfn, PhysAddr, VirtAddr};
use arrayvec::ArrayString;
use mm::Mm;
use mm::config::{Promote, PromotionThreshold, ThpMode};
use mm::mapcount;
use mm::page::{Flags, PageKind, page_of};
use mm::pgtable::Walk;
use mm::stats::Counter;
use mm::steps::StepKind;
use mm::thp::policy::{self, Backing};

use super::counters::Counters;
use super::record;
use super::stop::Stop;
use crate::process::{self, Observer, Process};
use crate::{println, sched, show, the_mm, time};

/// How long kpromoted may take: far longer than it does.
const PATIENCE_NS: u64 = 5_000_000_000;
/// The least threshold with which every stop is made.
const LEAST_THRESHOLD: u16 = 3;

/// What one stop keeps for the next.
#[derive(Clone, Copy)]
struct Kept {
    counters: Counters,
    /// The frame of the first page.
    frame: PhysAddr,
}

static KEPT: SpinLock<Kept> =
    SpinLock::new(Rank(1), Kept { counters: Counters::ZERO, frame: PhysAddr::new(0) });

/// Mode, threshold and who promotes, as the walk needs them; put back when dropped.
struct Settings(&'static Mm, ThpMode, u16, Promote);

impl Settings {
    fn set(mm: &'static Mm) -> Settings {
        let before = Settings(mm, mm.thp.mode(), mm.thp.threshold(), mm.thp.promote());
        if before.1 != ThpMode::Reserve || !(LEAST_THRESHOLD..512).contains(&before.2) {
            println!(
                "    (for this walk: thp=reserve promotion_threshold={})",
                mm.config.promotion_threshold.pages().clamp(LEAST_THRESHOLD, 256)
            );
            mm.thp.set_mode(ThpMode::Reserve);
            before.set_threshold(before.2.clamp(LEAST_THRESHOLD, 256));
        }
        if before.3 != Promote::Async {
            println!("    (for this walk: promote={})", Promote::Async);
            mm.thp.set_promote(Promote::Async);
        }
        before
    }

    fn set_threshold(&self, pages: u16) {
        debug_assert!(PromotionThreshold::RANGE.contains(&u64::from(pages)));
        // In range, so it cannot be refused.
        let _ = self.0.thp.set_threshold(pages.into());
    }
}

impl Drop for Settings {
    fn drop(&mut self) {
        self.0.thp.set_mode(self.1);
        self.set_threshold(self.2);
        self.0.thp.set_promote(self.3);
    }
}

/// Performs the walk.
pub(super) fn run(mm: &'static Mm) {
    println!("\nWalk A: page fault, reservation, promotion");
    let _settings = Settings::set(mm);
    let mut threshold: ArrayString<24> = ArrayString::new();
    // 24 bytes hold every threshold.
    let _ = write!(threshold, "threshold={}", mm.thp.threshold());
    match process::run("walka", &["walka", "512", &threshold], Some(Observer::Stops(observe))) {
        Ok(process) => {
            let status = process.wait();
            let mut stop =
                Stop::begin("A", "the process read back every word that it wrote, then unmapped it all");
            stop.check(status.shell_code() == 0, format_args!("it ended with {status}"));
        }
        Err(error) => {
            Stop::begin("A", "the process").check(false, format_args!("walka: {error}"));
        }
    }
}

fn observe(process: &Process, line: &str) {
    let mm = the_mm();
    let Some((name, va)) = parse(line) else { return };
    match name {
        "walka-mapped" => mapped(mm, process, va),
        "walka-first" => first(mm, process, va),
        "walka-below" => below(mm, process, va),
        "walka-reached" => reached(mm, process, va),
        "walka-written" => written(mm, process, va),
        "walka-unmapped" => unmapped(mm, process, va),
        _ => {}
    }
}

/// `walka-first 0xffff00000000`
pub(super) fn parse(line: &str) -> Option<(&str, VirtAddr)> {
    let (name, va) = line.split_once(' ')?;
    let va = u64::from_str_radix(va.strip_prefix("0x")?, 16).ok()?;
    Some((name, VirtAddr::new(va)))
}

/// The walk of an address in a process's tables, under their lock.
pub(super) fn walk(process: &Process, va: VirtAddr) -> Walk {
    process.space().ptl.lock().walk(va)
}

/// The hardware's walker must find what the tables say.
pub(super) fn check_hardware(stop: &mut Stop, va: VirtAddr, expected: PhysAddr) {
    let seen = Machine::translate(va, Access::Write, Privilege::User);
    match seen {
        Ok(pa) => println!("    AT S1E0W {va}: {pa}"),
        Err(fault) => println!("    AT S1E0W {va}: {fault}"),
    }
    stop.check(seen == Ok(expected), format_args!("the tables say {expected}"));
}

/// Nothing is touched yet: what the first write will meet.
fn mapped(mm: &Mm, process: &Process, va: VirtAddr) {
    let walk = walk(process, va);
    let mut stop = Stop::begin("A.1", "kernel::trap: the first write will fault; the hardware says how");
    match Machine::translate(va, Access::Write, Privilege::User) {
        Ok(pa) => stop.check(false, format_args!("{va} translates to {pa} already")),
        Err(fault) => {
            println!("    AT S1E0W {va}: {fault}");
            let expected = arch::contract::FaultStatus::Translation(walk.last().level);
            stop.check(fault == expected, format_args!("the tables say {expected}"));
        }
    }
    drop(stop);
    let mut stop =
        Stop::begin("A.2", "fault::handle_mm_fault: the VMA that holds the address allows the write");
    let Some(vma) = process.space().vma_at(va) else {
        return stop.check(false, format_args!("no VMA holds {va}"));
    };
    println!("    {vma}");
    stop.check(vma.prot.allows(Access::Write), format_args!("the VMA is {}", vma.prot));
    drop(stop);
    let mut stop = Stop::begin("A.3", "fault::anon: nothing is mapped there, so a page is needed");
    show::walk(&walk);
    stop.check(walk.last().kind() == Kind::Invalid, format_args!("{va} is mapped"));
    drop(stop);
    let mut stop = Stop::begin("A.4", "thp::policy: values in, a word out");
    let backing = |access| policy::backing(mm, process.space(), &vma, va, access);
    let [write, read] = [Access::Write, Access::Read].map(backing);
    println!(
        "    mode {}, threshold {} of 512: a write is backed `{write:?}`, a read `{read:?}`",
        mm.thp.mode(),
        mm.thp.threshold()
    );
    stop.check(
        write == Backing::Reserve && read == Backing::Small,
        format_args!("`Reserve` and `Small` were expected"),
    );
    drop(stop);
    KEPT.lock().counters = Counters::now(mm);
}

/// How many of the 512 frames of a block are of this kind, as single pages or as parts of larger ones.
fn frames(block: Pfn, kind: PageKind) -> u64 {
    let (mut n, mut found) = (0, 0);
    while n < Order::PMD.pages() {
        let page = page_of(block.add(n));
        let pages = page.order().pages();
        found += if page.kind() == kind { pages } else { 0 };
        n += pages;
    }
    found
}

/// One page is written.
fn first(mm: &Mm, process: &Process, va: VirtAddr) {
    let before = KEPT.lock().counters;
    let walk = walk(process, va);
    let mut stop =
        Stop::begin("A.5", "thp::reservation: the write reserved a block, and took the page of its address");
    let Some(leaf) = walk.leaf() else {
        return stop.check(false, format_args!("{va} is not mapped"));
    };
    let frame = leaf.desc.output(leaf.level);
    let block = frame.pfn().align_down(Order::PMD);
    let (used, reserved) = (frames(block, PageKind::Anon), frames(block, PageKind::ThpReserved));
    println!("    512 frames from {}: {used} anon, {reserved} thp-reserved", block.phys());
    before
        .print_moved(mm, &[Counter::PgFault, Counter::ThpResAlloc, Counter::NrThpReserved, Counter::NrAnon]);
    stop.check((used, reserved) == (1, 511), format_args!("1 and 511 were expected"));
    stop.check(mm.reservation_of(frame.pfn()).is_some(), format_args!("no reservation has the frame"));
    stop.check(before.moved(mm, Counter::ThpResAlloc) == 1, format_args!("one reservation was expected"));
    drop(stop);
    let mut stop = Stop::begin("A.6", "pgtable::entry::make and mapcount::add: the page is mapped");
    show::walk(&walk);
    check_hardware(&mut stop, va, frame);
    let page = page_of(frame.pfn());
    show::struct_page(page, page.head(mm.config.tails));
    stop.check(leaf.level == Level::L3, format_args!("the leaf is of level {}", leaf.level));
    stop.check(
        frame.pfn() == block.add(va.index(Level::L3) as u64),
        format_args!("it is not the page of its address"),
    );
    stop.check(
        (page.refcount(), page.raw_mapcount()) == (2, 1),
        format_args!("2 references (reservation, entry) and 1 entry were expected"),
    );
    drop(stop);
    KEPT.lock().frame = frame;
}

/// One page fewer than the threshold is written: every page stands where the block has it.
fn below(mm: &Mm, process: &Process, va: VirtAddr) {
    let (frame, written) = (KEPT.lock().frame, u64::from(mm.thp.threshold()) - 1);
    let mut stop =
        Stop::begin("A.7", "thp::promoter::submit: at the threshold the range is queued for kpromoted");
    let in_place = |n: u64| {
        let leaf = walk(process, va.add(n * 4096)).leaf();
        leaf.is_some_and(|leaf| leaf.level == Level::L3 && leaf.desc.output(Level::L3) == frame.add(n * 4096))
    };
    let placed = (0..512).filter(|&n| in_place(n)).count() as u64;
    println!(
        "    {written} pages are written, {placed} are mapped, each at its place in the block; one more will do"
    );
    stop.check(placed == written, format_args!("{written} were expected"));
    record::start(va, Order::PMD.bytes());
    drop(stop);
    KEPT.lock().counters = Counters::now(mm);
}

/// The threshold is reached. Waits for kpromoted, and shows what it did.
fn reached(mm: &Mm, process: &Process, va: VirtAddr) {
    let Kept { counters, frame } = *KEPT.lock();
    let until = time::now_ns() + PATIENCE_NS;
    let promoted = || counters.moved(mm, Counter::ResPagesCollapsed) > 0;
    while !promoted() && time::now_ns() < until {
        sched::yield_now();
    }
    let recording = record::stop();
    let mut stop = Stop::begin("A.8", "thp::promote: 512 entries become one block, in place");
    for recorded in &recording.steps {
        let step = recorded.step;
        println!("    {:<14} {} -> {}   owed: {}", step.kind.name(), step.old, step.new, step.owed);
    }
    if let Some(first) = recording.steps.first() {
        println!(
            "    made by the thread {} on CPU {} in {} us",
            recording.thread,
            first.cpu,
            recording.duration() / 1000
        );
    }
    let kinds =
        [StepKind::PromoteBegin, StepKind::PromoteBreak, StepKind::PromoteFlush, StepKind::PromoteMake];
    let in_order = recording.steps.iter().map(|recorded| recorded.step.kind).eq(kinds);
    stop.check(in_order, format_args!("begin, break, flush, make were expected"));
    stop.check(recording.thread == mm::thp::promoter::THREAD, format_args!("another thread was expected"));
    let walk = walk(process, va);
    show::walk(&walk);
    check_hardware(&mut stop, va, frame);
    let head = page_of(frame.pfn());
    show::struct_page(head, head.head(mm.config.tails));
    counters.print_moved(
        mm,
        &[
            Counter::ResPagesCollapsed,
            Counter::ResPagesFilled,
            Counter::NrAnonThp,
            Counter::NrThpReserved,
            Counter::NrPageTable,
            Counter::TlbiVa,
            Counter::DsbIsh,
        ],
    );
    let is_block =
        walk.leaf().is_some_and(|leaf| leaf.level == Level::L2 && leaf.desc.output(Level::L2) == frame);
    stop.check(is_block, format_args!("a block with the same frames was expected"));
    stop.check(
        head.flags().contains(Flags::HEAD) && head.order() == Order::PMD,
        format_args!("a folio of 2 MiB was expected"),
    );
    stop.check(
        (head.refcount(), mapcount::scheme(mm).is_mapped(head)) == (1, true),
        format_args!("one reference of one entry was expected"),
    );
    let flushes = counters.moved(mm, Counter::TlbiVa) + counters.moved(mm, Counter::TlbiAsid);
    stop.check(flushes > 0, format_args!("nothing was flushed"));
    stop.check(counters.moved(mm, Counter::NrPageTable) == -1, format_args!("the old table is still in use"));
    drop(stop);
    KEPT.lock().counters = Counters::now(mm);
}

/// All 512 pages are written: those above the threshold into the block, without a fault.
fn written(mm: &Mm, process: &Process, va: VirtAddr) {
    let Kept { counters, frame } = *KEPT.lock();
    let faults = counters.moved(mm, Counter::PgFault);
    let rest = 512 - mm.thp.threshold();
    let mut stop = Stop::begin("A.8", "the block is in use");
    println!("    the other {rest} pages were written with {faults} faults");
    let still = walk(process, va).leaf().is_some_and(|leaf| leaf.desc.output(leaf.level) == frame);
    stop.check(still && faults == 0, format_args!("the same block and no fault were expected"));
}

/// Nothing is mapped any more, and nothing reserved.
fn unmapped(mm: &Mm, process: &Process, va: VirtAddr) {
    let mut stop = Stop::begin("A", "after munmap nothing is mapped or reserved");
    let (reserved, huge) = (mm.stats.get(Counter::NrThpReserved), mm.stats.get(Counter::NrAnonThp));
    println!("    {} {reserved}, {} {huge}", Counter::NrThpReserved.name(), Counter::NrAnonThp.name());
    stop.check(walk(process, va).leaf().is_none(), format_args!("{va} is mapped"));
    stop.check((reserved, huge) == (0, 0), format_args!("0 and 0 were expected"));
}
