//! Tracepoints: which are on, what is let through, and what they have written down.
//!
//! | `trace …` | what |
//! |---|---|
//! | | which points are on, and how many records there are |
//! | `points` | all points, what they say, and which counter counts the same |
//! | `on [WORD …]`, `off [WORD …]` | a point, a room, or `all`, which is what no word means |
//! | `filter [none\|pid=N cpu=N va=A..B]` | which records are written at all |
//! | `buffer KIB` | how large the ring of each CPU is |
//! | `clear` | forgets the records; where no point is on, their memory goes back |
//! | `show [N]` | the newest records, 20 or so many, as sentences |
//! | `dump` | all records, a line each, for a program |
//!
//! While records are read no point is on.
#![forbid(unsafe_code)]

use core::array;
use core::fmt;

use arch::VirtAddr;
use arch::contract::{CpuId, MAX_CPUS};
use mm::Mm;
use mm::steps::StepKind;
use mm::trace::{Filter, Phase, Point, Points, Record, Still};

use super::commands::Complaint;
use super::words::number;
use crate::{println, sched};

/// Records that `trace show` prints where nobody says how many.
const SHOWN: u64 = 20;

/// `trace [...]`
pub(super) fn trace(mm: &'static Mm, args: &[&str]) -> Result<(), Complaint> {
    let trace = &mm.stats.trace;
    match *args {
        [] => state(mm),
        ["points"] => list(),
        ["on", ref words @ ..] => trace.switch_on(mm, points(words)?).map_err(Complaint::new)?,
        ["off", ref words @ ..] => trace.switch_off(mm, points(words)?),
        ["filter"] => println!("    filter    {}", trace.filter()),
        ["filter", "none"] => trace.set_filter(mm, Filter::NONE),
        ["filter", ref words @ ..] => trace.set_filter(mm, filter(mm, words)?),
        ["buffer", kib] => {
            let kib =
                number(kib).ok_or_else(|| Complaint::new(format_args!("`{kib}` is no number of KiB")))?;
            trace.set_ring_kib(mm, kib).map_err(Complaint::new)?;
            println!("    each CPU's ring has {} KiB", trace.ring_bytes() >> 10);
        }
        ["clear"] => trace.forget(mm),
        ["show"] => trace.with_still(mm, |still| show(still, SHOWN)),
        ["show", most] => {
            let most = number(most)
                .ok_or_else(|| Complaint::new(format_args!("`{most}` is no number of records")))?;
            trace.with_still(mm, |still| show(still, most));
        }
        ["dump"] => trace.with_still(mm, dump),
        _ => return Err(Complaint::Usage),
    }
    Ok(())
}

/// The points that words name; all of them where there are no words.
fn points(words: &[&str]) -> Result<Points, Complaint> {
    if words.is_empty() {
        return Ok(Points::ALL);
    }
    words.iter().try_fold(Points::NONE, |points, word| {
        let named = Points::named(word).ok_or_else(|| {
            Complaint::new(format_args!("there is no point and no room `{word}`; `trace points` lists them"))
        });
        named.map(|named| points.and(named))
    })
}

fn filter(mm: &Mm, words: &[&str]) -> Result<Filter, Complaint> {
    let mut filter = Filter::NONE;
    for word in words {
        let complaint =
            || Complaint::new(format_args!("`{word}`: must be pid=N, cpu=N or va=A..B, or `none`"));
        let (key, value) = word.split_once('=').ok_or_else(complaint)?;
        let twice = match key {
            "pid" => filter.pid.is_some(),
            "cpu" => filter.cpu.is_some(),
            _ => filter.va.is_some(),
        };
        if twice {
            return Err(Complaint::new(format_args!("`{word}`: `{key}=` stands there twice")));
        }
        match key {
            "pid" => filter.pid = Some(number(value).and_then(|n| n.try_into().ok()).ok_or_else(complaint)?),
            "cpu" => {
                let cpu = number(value).ok_or_else(complaint)? as usize;
                let cpus = mm.env.online_cpus();
                if cpu >= cpus {
                    return Err(Complaint::new(format_args!("`{word}`: there are CPUs 0 to {}", cpus - 1)));
                }
                filter.cpu = Some(CpuId::new(cpu));
            }
            "va" => {
                let ends = value.split_once("..").and_then(|(from, to)| number(from).zip(number(to)));
                let (from, to) = ends.ok_or_else(complaint)?;
                if from >= to {
                    return Err(Complaint::new(format_args!(
                        "`{word}`: the end must be above the beginning"
                    )));
                }
                filter.va = Some((VirtAddr::new(from), VirtAddr::new(to)));
            }
            _ => return Err(complaint()),
        }
    }
    Ok(filter)
}

fn state(mm: &Mm) {
    let trace = &mm.stats.trace;
    let on = trace.points();
    println!("    on        {}", if on == Points::NONE { "none" } else { "" });
    for room in rooms() {
        let of_room = on.each().filter(|point| point.room() == room).fold(Points::NONE, Points::with);
        if of_room != Points::NONE {
            println!("      {room:<8} {of_room}");
        }
    }
    println!("    filter    {}", trace.filter());
    let there = if trace.has_rings() { "" } else { ", not allocated now" };
    println!("    ring      {} KiB a CPU{there}", trace.ring_bytes() >> 10);
    trace.with_still(mm, |still| {
        for cpu in still.cpus() {
            let (written, lost) = (still.written(cpu), still.lost(cpu));
            println!("    CPU {cpu}     {written} records, of which {lost} are lost");
        }
    });
}

/// The names of the rooms, in the order of the list.
fn rooms() -> impl Iterator<Item = &'static str> {
    let before = |n: usize| n.checked_sub(1).map(|n| Point::ALL[n].room());
    Point::ALL.iter().enumerate().filter_map(move |(n, point)| {
        let room = point.room();
        (before(n) != Some(room)).then_some(room)
    })
}

fn list() {
    for room in rooms() {
        println!("  {room}");
        for point in Point::ALL.iter().filter(|point| point.room() == room) {
            let counter = point.counter().map_or("-", |counter| counter.name());
            println!("    {:<14} {:<7} {counter}", point.name(), point.shape().name());
            println!("     {}", point.about());
        }
    }
}

/// Prints the newest `most` records, the oldest of them first.
fn show(still: &Still<'_>, most: u64) {
    let mut next: [u64; MAX_CPUS] = array::from_fn(|cpu| still.written(CpuId::new(cpu)));
    let before = |next: &[u64; MAX_CPUS], cpu: CpuId| {
        next[cpu.index()].checked_sub(1).and_then(|n| still.record(cpu, n))
    };
    let mut left = most;
    while left != 0 {
        let newest = still.cpus().filter_map(|cpu| before(&next, cpu)).max_by_key(|record| record.order);
        let Some(newest) = newest else { break };
        next[newest.cpu.index()] -= 1;
        left -= 1;
    }
    loop {
        let there = still.cpus().filter_map(|cpu| still.record(cpu, next[cpu.index()]));
        let Some(oldest) = there.min_by_key(|record| record.order) else { break };
        next[oldest.cpu.index()] += 1;
        println!("  {}", Sentence(&oldest));
    }
}

/// A record for a reader.
struct Sentence<'r>(&'r Record);

impl fmt::Display for Sentence<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Record { time, point, phase, running, cpu, n, args, .. } = *self.0;
        let names = if phase == Phase::End { point.results() } else { point.arguments() };
        let (us, slot) = (time / 1000, running.thread & 0xffff);
        let letter = phase.letter();
        write!(
            f,
            "{us:>10} us  CPU {cpu}  thread {slot:<4} pid {:<4} {letter} {}",
            running.pid,
            point.name()
        )?;
        match point {
            Point::Step => {
                let kind = StepKind::ALL.get(usize::from(args[3] as u8)).map_or("?", |kind| kind.name());
                return write!(f, "  {kind} va={:#x} old={:#x} new={:#x}", args[0], args[1], args[2]);
            }
            Point::Switch => {
                let name = [args[2].to_le_bytes(), args[3].to_le_bytes()];
                let name = name.as_flattened();
                let name = name.split(|&byte| byte == 0).next().and_then(|name| str::from_utf8(name).ok());
                let (slot, name) = (args[0] & 0xffff, name.unwrap_or("?"));
                return write!(f, "  to thread {slot}, pid {}, {name}", args[1]);
            }
            _ => {}
        }
        for (name, value) in names.iter().zip(args) {
            write!(f, "  {name}={value:#x}")?;
        }
        if n != 0 && point.counter().is_some() { write!(f, "  n={n}") } else { Ok(()) }
    }
}

/// Prints everything, for a program: `qemu/src/trace/dump.rs` reads it.
fn dump(still: &Still<'_>) {
    println!("trace: begin");
    println!("filtered {}", u8::from(still.filtered()));
    for &kind in StepKind::ALL {
        println!("step {} {}", kind as u8, kind.name());
    }
    for &point in Point::ALL {
        let counter = point.counter().map_or("-", |counter| counter.name());
        let (number, name, room, shape) = (point as u8, point.name(), point.room(), point.shape().name());
        println!("point {number} {name} {room} {shape} {counter} {}", Names(point.arguments()));
        println!("results {number} {}", Names(point.results()));
        if let Some(counted) = still.counted(point) {
            println!("counted {number} {counted}");
        }
    }
    sched::for_each_thread(|thread| {
        println!("thread {:x} {} {}", thread.number, thread.pid.unwrap_or(0), thread.name);
    });
    for cpu in still.cpus() {
        println!("cpu {cpu} {} {}", still.written(cpu), still.lost(cpu));
        for record in still.records(cpu) {
            let Record { time, order, point, phase, running, n, args: [a, b, c, d], .. } = record;
            let (point, phase, thread, pid) = (point as u8, phase.letter(), running.thread, running.pid);
            println!("{phase} {time:x} {order:x} {point:x} {thread:x} {pid:x} {n:x} {a:x} {b:x} {c:x} {d:x}");
        }
    }
    println!("trace: end");
}

/// Words with a comma between; `-` where there is none.
struct Names(&'static [&'static str]);

impl fmt::Display for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("-");
        }
        self.0
            .iter()
            .enumerate()
            .try_for_each(|(n, name)| write!(f, "{}{name}", if n == 0 { "" } else { "," }))
    }
}
