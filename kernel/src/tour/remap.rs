//! B.4 to B.9: a folio of the pool gives back its struct pages, and gets them again, by the strategy of this boot.
#![forbid(unsafe_code)]

use arch::addr::PAGE_SIZE;
use arch::contract::{FaultStatus, Privilege};
use arch::layout::STRUCT_PAGE_BYTES;
use arch::pte::PteFlags;
use arch::{Access, Level, Machine, Mmu, Order};
use mm::Mm;
use mm::config::TailEncoding;
use mm::hugetlb::HugeSize;
use mm::hvo::describe::PAGES;
use mm::hvo::layout::Layout;
use mm::hvo::{VmemmapEntry, describe};
use mm::page::PageRef;
use mm::page::tails::PER_VMEMMAP_PAGE;
use mm::stats::Counter;
use mm::steps::StepKind;

use super::counters::Counters;
use super::record::{self, Recording};
use super::stop::Stop;
use super::ways::{self, Middle, Way};
use crate::{println, settle, show};

/// What HVO counts, and what its breaks and makes cost.
const MOVED: [Counter; 13] = [
    Counter::NrHvoOptimized,
    Counter::NrVmemmapFreed,
    Counter::HvoOptimize,
    Counter::HvoRestore,
    Counter::HvoSplitPmd,
    Counter::HvoPause,
    Counter::HvoGracePeriod,
    Counter::HvoFaultWait,
    Counter::HvoConflict,
    Counter::PteStore,
    Counter::TlbiVa,
    Counter::TlbiAll,
    Counter::DsbIsh,
];

/// B.4 to B.8: the folio lies in the pool, and HVO treats it. `before` is how its vmemmap is mapped.
pub(super) fn optimise(mm: &'static Mm, head: PageRef, before: &[VmemmapEntry; PAGES]) {
    let mut stop = Stop::begin("B.4", "hvo::optimize_folio: before; all that is needed is allocated now");
    let Some(way) = ways::of(mm.hvo.strategy()) else {
        return stop.check(false, format_args!("there is no strategy"));
    };
    show::vmemmap(before);
    check_own(&mut stop, before);
    let (free, kept) = (settle::free_pages(mm), settle::kept_pages(mm));
    let counters = Counters::now(mm);
    record::start_vmemmap(head.pfn(), before);
    let outcome = mm.hugetlb.optimize_free(mm);
    let recording = record::stop();
    stop.check(outcome.done == 1 && outcome.first_error.is_none(), format_args!("{outcome:?}"));
    drop(stop);
    layout_stop(mm, head);
    middle_stop(way, &recording, before);
    strategy_stop(mm, way, &recording, &counters);
    let mut stop = Stop::begin("B.8", "hvo: after; the freed pages are the buddy allocator's");
    let after = describe(mm, head.pfn());
    print_before_and_after(mm, before, &after);
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
    let expected = match mm.config.tails {
        TailEncoding::Mask => mm.hvo.shared_tails(Order::PMD),
        TailEncoding::Pointer => after[0].output(),
    };
    let shared = after[1..].iter().all(|entry| entry.output() == expected && !is_writable(entry));
    stop.check(shared, format_args!("pages 1 to 7 must be the shared one, read-only"));
    check_struct_pages(&mut stop, mm, head);
}

fn is_writable(entry: &VmemmapEntry) -> bool {
    entry.output().is_some() && !entry.flags().contains(PteFlags::READ_ONLY)
}

/// Eight frames, all writable.
fn check_own(stop: &mut Stop, entries: &[VmemmapEntry; PAGES]) {
    let own = (0..PAGES).all(|n| (0..n).all(|m| entries[m].output() != entries[n].output()));
    stop.check(own, format_args!("two pages have the same frame"));
    stop.check(entries.iter().all(is_writable), format_args!("a page cannot be written"));
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

fn layout_stop(mm: &Mm, head: PageRef) {
    let mut stop = Stop::begin("B.5", "hvo::layout: which pages of struct pages stay");
    let layout = match Layout::of(head.order()) {
        Ok(layout) => layout,
        Err(refused) => return stop.check(false, format_args!("{refused}")),
    };
    let (pages, kept, freed) = (layout.pages(), layout.kept(), layout.freed());
    let structs = layout.order().pages();
    let bytes = structs * STRUCT_PAGE_BYTES;
    println!(
        "    {structs} struct pages x {STRUCT_PAGE_BYTES} bytes = {bytes} bytes = {pages} pages x {PAGE_SIZE}"
    );
    println!(
        "    {pages} pages - {kept} that stays, with the head = {freed} that go: {freed} x {PAGE_SIZE} = {} bytes",
        layout.bytes_freed()
    );
    let whose = match mm.config.tails {
        TailEncoding::Mask => "a page of tails, which all folios of this order have in common",
        TailEncoding::Pointer => "the page of their own head: every 64th tail looks like it",
    };
    println!("    tails={}: the {freed} addresses come to map {whose}", mm.config.tails);
    stop.check(pages == PAGES as u64 && kept + freed == pages, format_args!("{PAGES} pages were expected"));
    stop.check(
        bytes == pages * PAGE_SIZE,
        format_args!("{bytes} bytes of struct pages fill no {pages} pages"),
    );
}

fn middle_stop(way: &Way, recording: &Recording, before: &[VmemmapEntry; PAGES]) {
    let title = match way.middle {
        Middle::Broken => "hvo::window: during; seven pages of struct pages have no translation",
        Middle::ReadOnly => "hvo::window: during; every struct page can be read, tails no longer written",
    };
    let mut stop = Stop::begin("B.6", title);
    let Some(vmemmap) = recording.vmemmap else {
        return stop.check(false, format_args!("nothing was recorded"));
    };
    let Some(during) = &vmemmap.during else {
        return stop.check(false, format_args!("no flush was seen"));
    };
    show::vmemmap(during);
    let expected = during[1..].iter().zip(&before[1..]).all(|(entry, before)| match way.middle {
        Middle::Broken => entry.output().is_none(),
        Middle::ReadOnly => entry.output() == before.output() && !is_writable(entry),
    });
    stop.check(is_writable(&during[0]), format_args!("the head's page cannot be written"));
    stop.check(expected, format_args!("pages 1 to 7 are in another state"));
    if way.middle == Middle::ReadOnly {
        let equal = vmemmap.equal;
        println!(
            "    when the addresses change, {equal} of {} frames hold the same as the new one",
            PAGES - 1
        );
        stop.check(equal == PAGES - 1, format_args!("all must, where entries change without a break"));
    }
}

fn strategy_stop(mm: &Mm, way: &Way, recording: &Recording, counters: &Counters) {
    let mut stop = Stop::begin("B.7", way.title);
    way.words.iter().for_each(|line| println!("    {line}"));
    print_steps(recording);
    let (others, us) = (mm.env.online_cpus() - 1, recording.duration() / 1000);
    let what = if way.counts == Counter::HvoPause { "held" } else { "left alone" };
    println!("    other CPUs {what}: {others}; from the first step to the last: {us} us");
    let splits = recording.steps.iter().filter(|recorded| ways::is_of_split(recorded.step.kind)).count();
    if splits != 0 {
        check_steps(&mut stop, recording, ways::split(mm.hvo.split()), Part::Split);
    }
    check_steps(&mut stop, recording, way.optimise, Part::Remap);
    let times = counters.moved(mm, way.counts);
    stop.check(times >= 1, format_args!("{} has not moved", way.counts.name()));
}

/// Prints the steps, one a line: what was stored, and what is owed then.
fn print_steps(recording: &Recording) {
    for recorded in &recording.steps {
        let step = recorded.step;
        let (name, owed) = (step.kind.name(), step.owed);
        let entries = step.entries;
        match (ways::stores(step.kind), step.level) {
            (true, Level::L3) => {
                println!("    {name:<17}  {entries} pages  {} -> {}   owed: {owed}", step.old, step.new);
            }
            (true, _) => println!("    {name:<17}  a block  {} -> {}   owed: {owed}", step.old, step.new),
            (false, _) => println!("    {name:<69}  owed: {owed}"),
        }
    }
}

/// Which of the steps are looked at.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    /// Those that put tables in the place of blocks.
    Split,
    /// The others.
    Remap,
}

/// The steps are of these kinds, in this order, and each is about the one block, or about the seven entries.
fn check_steps(stop: &mut Stop, recording: &Recording, kinds: &[StepKind], part: Part) {
    let entries = match part {
        Part::Split => 1,
        Part::Remap => PAGES as u32 - 1,
    };
    let steps = || {
        let of_part = |kind| ways::is_of_split(kind) == (part == Part::Split);
        recording.steps.iter().map(|recorded| recorded.step).filter(move |step| of_part(step.kind))
    };
    stop.check(
        steps().map(|step| step.kind).eq(kinds.iter().copied()),
        format_args!("{kinds:?} were expected"),
    );
    stop.check(
        steps().all(|step| step.entries == entries),
        format_args!("{entries} entries a step were expected"),
    );
}

/// The eight pages before and after, side by side.
fn print_before_and_after(mm: &Mm, before: &[VmemmapEntry; PAGES], after: &[VmemmapEntry; PAGES]) {
    println!("    page  vmemmap address     before            after             struct pages");
    for (n, (before, after)) in before.iter().zip(after).enumerate() {
        let first = n as u64 * PER_VMEMMAP_PAGE;
        let last = first + PER_VMEMMAP_PAGE - 1;
        let (va, before, after) = (before.va, show::Frame(before), show::Frame(after));
        match (n, mm.config.tails) {
            (0, _) => println!("    {n}     {va}  {before}  {after}  head, tails 1 to {last}"),
            (_, TailEncoding::Mask) => {
                println!("    {n}     {va}  {before}  {after}  tails {first} to {last}, shared");
            }
            (_, TailEncoding::Pointer) => {
                println!("    {n}     {va}  {before}  {after}  tails {first} to {last}, by the head's page");
            }
        }
    }
}

/// B.9: the folio leaves the pool, so it gets struct pages of its own again first.
pub(super) fn restore(mm: &'static Mm, head: PageRef, size: u64) {
    let mut stop =
        Stop::begin("B.9", "hvo::restore: the folio leaves the pool, with struct pages of its own again");
    let Some(way) = ways::of(mm.hvo.strategy()) else {
        return stop.check(false, format_args!("there is no strategy"));
    };
    let before = describe(mm, head.pfn());
    let counters = Counters::now(mm);
    record::start_vmemmap(head.pfn(), &before);
    let resized = mm.hugetlb.set_nr(mm, HugeSize::M2, size);
    let recording = record::stop();
    let after = describe(mm, head.pfn());
    print_steps(&recording);
    show::vmemmap(&after);
    counters.print_moved(mm, &MOVED);
    stop.check(resized.persistent == size && resized.unrestored.is_none(), format_args!("{resized:?}"));
    check_own(&mut stop, &after);
    check_steps(&mut stop, &recording, way.restore, Part::Remap);
    if way.middle == Middle::ReadOnly {
        let equal = recording.vmemmap.map_or(0, |vmemmap| vmemmap.equal);
        stop.check(equal == PAGES - 1, format_args!("{equal} of {} new frames held the same", PAGES - 1));
    }
}
