//! Who is killed when memory is out.
//!
//! A fault that finds no memory kills the process with the largest resident set, waits for its end, and is tried again:
//! what needs memory gets it from who has most of it (Linux: oom_badness, with no adjustment). Resident are anonymous
//! and hugetlb pages and the tables; a page that several processes map counts for each of them. Memory that nobody
//! needs any more, such as kernel stacks of ended threads, is freed first; what memory management keeps though nobody
//! needs it was given back before the fault failed ([`mm::thp::reclaim`]).
//!
//! The console says why: what was asked for, what is free and what is kept, the largest processes, and the victim with
//! its sizes (Linux: `dump_header`, `dump_tasks`).
#![forbid(unsafe_code)]

use arch::Order;
use arrayvec::{ArrayString, ArrayVec};
use mm::kalloc::KArc;
use mm::locks::{self, SleepLock};
use mm::rmap::deferred;
use mm::space::Usage;
use mm::stats::Counter;
use mm::trace::Point;

use super::{Process, Signal, family};
use crate::{println, sched, the_mm};

/// For how long a victim is waited for: one that takes longer is stuck, and who waits ends itself.
const PATIENCE_NS: u64 = 1_000_000_000;
const KIB_PER_PAGE: u64 = 4;

/// What a fault without memory is to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub(super) enum Relief {
    /// Try again: memory may be free.
    TryAgain,
    /// Give up: this process is to end.
    GiveUp,
}

/// Processes in the report: the largest.
const LISTED: usize = 10;

/// A victim and what its space maps.
struct Victim {
    process: KArc<Process>,
    usage: Usage,
}

/// A line of the report.
struct Line {
    pid: u32,
    name: ArrayString<32>,
    usage: Usage,
}

/// Kills some process for want of memory, on the thread of `needy`, which holds no lock.
pub(super) fn relieve(needy: &Process) -> Relief {
    if needy.verdict().is_some() {
        return Relief::GiveUp;
    }
    sched::reap();
    let process = match choose(needy) {
        Choice::Enough => return Relief::TryAgain,
        Choice::Nobody => return Relief::GiveUp,
        Choice::Victim(process) => process,
    };
    if core::ptr::eq(&raw const *process, needy) {
        return Relief::GiveUp;
    }
    process.wait_a_while(PATIENCE_NS);
    let gone = process.status().is_some();
    if gone && needy.verdict().is_none() { Relief::TryAgain } else { Relief::GiveUp }
}

/// Held by whoever looks for a victim, so that two faults do not find two of them.
static CHOOSING: SleepLock = SleepLock::new(locks::VICTIM);

/// What a look at all processes comes to.
enum Choice {
    /// Memory is not short any more.
    Enough,
    /// Nobody has any.
    Nobody,
    /// This one, which is killed.
    Victim(KArc<Process>),
}

/// Chooses who is killed, and kills him, with a report, unless that is done.
fn choose(needy: &Process) -> Choice {
    let _one = CHOOSING.write(the_mm().env);
    let victim = largest();
    // One that was about to end may have ended meanwhile, and another was found in its place.
    if has_come_back() {
        return Choice::Enough;
    }
    let Some(Victim { process, usage }) = victim else { return Choice::Nobody };
    if process.verdict().is_none() {
        report(needy);
        let (pid, name, rss) = (process.pid, process.name, kib(usage.resident()));
        println!(
            "out of memory: killed process {pid} ({name}), {rss} KiB resident: {} KiB anonymous, {} KiB of it huge, \
             {} KiB shared, {} KiB tables; {} KiB of hugetlb go back to the pool",
            kib(usage.anon),
            kib(usage.anon_huge),
            kib(usage.shared),
            kib(usage.tables),
            kib(usage.hugetlb),
        );
        the_mm().stats.note(Point::Oom, 1, || [pid.into(), usage.resident(), 0, 0]);
        process.kill(Signal::Kill);
    }
    Choice::Victim(process)
}

/// Whether memory is not short any more: somebody else has given some back since the fault failed. Of requests of one
/// page only, since a larger one may fail with any number of them free (Linux: `__alloc_pages_may_oom` tries once more,
/// at the high mark).
fn has_come_back() -> bool {
    let mm = the_mm();
    mm.last_shortage().order == Order::PAGE && mm.free_page_count() > mm.watermarks().high
}

/// The process whose end frees most. One whose end is decided already is waited for, whatever its size; but not the
/// first of a family that waits for all others, after it has given up its memory.
fn largest() -> Option<Victim> {
    let mut largest: Option<(u64, Victim)> = None;
    family::for_each(|process| {
        if process.status().is_some() || process.ends() && process.first.is_none() {
            return;
        }
        let usage = the_mm().usage(process.space());
        let size = match process.verdict() {
            Some(_) => u64::MAX,
            None => usage.resident(),
        };
        if largest.as_ref().is_none_or(|(most, _)| *most < size) {
            largest = Some((size, Victim { process: process.clone(), usage }));
        }
    });
    largest.map(|(_, victim)| victim)
}

fn kib(pages: u64) -> u64 {
    pages * KIB_PER_PAGE
}

/// What was asked for, by whom, and where memory is.
fn report(needy: &Process) {
    let mm = the_mm();
    let (wanted, marks) = (mm.last_shortage(), mm.watermarks());
    let gauge = |counter| mm.stats.get(counter);
    println!(
        "out of memory: process {} ({}) asked for memory; the last request that failed: order {}, {}",
        needy.pid,
        needy.name,
        wanted.order.raw(),
        wanted.kind.name(),
    );
    println!(
        "  {} KiB managed, {} KiB free, {} KiB of it kept; {} KiB in page tables, {} KiB in objects, {} KiB in the pool",
        kib(mm.managed_pages()),
        kib(mm.free_page_count()),
        kib(marks.min),
        kib(gauge(Counter::NrPageTable)),
        kib(gauge(Counter::NrShmem)),
        mm.hugetlb.bytes() >> 10,
    );
    println!(
        "  {} KiB reserved: {} reservations in part, {} in full; huge pages: {} mapped in part, {} perhaps underused",
        kib(gauge(Counter::NrThpReserved)),
        gauge(Counter::NrThpResPartpop),
        gauge(Counter::NrThpResFullpop),
        deferred::backlog(mm),
        deferred::candidates(mm),
    );
    let (lines, others) = largest_first();
    println!("  pid      resident KiB   tables KiB     huge KiB  name");
    for Line { pid, name, usage } in lines {
        let (rss, tables, huge) = (kib(usage.resident()), kib(usage.tables), kib(usage.anon_huge));
        println!("  {pid:<8} {rss:>12} {tables:>12} {huge:>12}  {name}");
    }
    if others != 0 {
        println!("  and {others} smaller ones");
    }
}

/// The largest processes, and how many there are beside them.
fn largest_first() -> (ArrayVec<Line, LISTED>, usize) {
    let (mut lines, mut others) = (ArrayVec::<Line, LISTED>::new(), 0);
    family::for_each(|process| {
        if process.status().is_some() {
            return;
        }
        let usage = the_mm().usage(process.space());
        let place = lines.iter().position(|line| line.usage.resident() < usage.resident());
        let place = place.unwrap_or(lines.len());
        if lines.is_full() {
            others += 1;
            if place == LISTED {
                return;
            }
            lines.pop();
        }
        lines.insert(place, Line { pid: process.pid, name: process.name, usage });
    });
    (lines, others)
}
