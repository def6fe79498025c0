//! A list is remapped on one CPU while every other one tries to get references to its pages, lock-free.
//!
//! A *try* is one speculative look at a page ([`Mm::try_get_folio`]). The figures are those of [`ROUNDS`] round trips of
//! a list: how many tries there were meanwhile, and, as `progress`, how many of 1000 for which there was time.
//! `wrong` tries got a reference to a folio of the list, which nobody may have.
//!
//! # Time
//! Where QEMU counts instructions it runs the CPUs in turn, each until it gives its turn up. So the CPU that remaps does
//! that at each step, after a break as after a make, and says for how long it has run until then. A walker tries for as
//! long as that, less the time for which it was held, and less what it waited for within a try; then it gives up its own
//! turn. So all get on as if they did at the same time, and the figures are the same at each run.
#![forbid(unsafe_code)]

use core::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use arch::contract::{Cpu, MAX_CPUS};
use arch::{Machine, Order, Pfn};
use arrayvec::ArrayVec;
use mm::Mm;
use mm::page::Flags;

use super::lists::Folios;
use super::reading::Reading;
use super::sheet::Sheet;
use crate::sched::{self, ThreadId};
use crate::{env, println, time};

/// Folios of the list.
const FOLIOS: usize = 64;
const ROUNDS: u64 = 4;
/// Pages that are tried lie so far apart: it has no factor in common with any number of folios of 2 MiB.
const STRIDE: u64 = 7919;
/// Most tries in one turn of a walker.
const TURN_OF_TRIES: u64 = 4;
/// Tries by which it is learnt what one takes.
const FIRST: u64 = 512;

static STOP: AtomicBool = AtomicBool::new(false);
static STARTED: AtomicUsize = AtomicUsize::new(0);
static TRIES: AtomicU64 = AtomicU64::new(0);
static WRONG: AtomicU64 = AtomicU64::new(0);
/// The frames that are tried: the first one, and how many.
static FROM: AtomicU64 = AtomicU64::new(0);
static FRAMES: AtomicU64 = AtomicU64::new(1);
/// What a try takes, in ns; never 0.
static EACH: AtomicU64 = AtomicU64::new(1);
/// For how long the CPU that remaps has run, in ns; when it began its turn, and how many tries there were by then.
static RUN: AtomicU64 = AtomicU64::new(0);
static TURN: AtomicU64 = AtomicU64::new(0);
static BEFORE: AtomicU64 = AtomicU64::new(0);
/// For how long all CPUs together were held.
static HELD: AtomicU64 = AtomicU64::new(0);

fn read(number: &AtomicU64) -> u64 {
    number.load(Ordering::Relaxed)
}

/// Tries one page.
fn try_page(mm: &Mm, n: u64) {
    let pfn = Pfn::new(read(&FROM) + n * STRIDE % read(&FRAMES));
    if let Some(folio) = mm.pfn_valid(pfn).then(|| mm.try_get_folio(pfn)).flatten() {
        WRONG.fetch_add(u64::from(folio.flags().contains(Flags::HVO)), Ordering::Relaxed);
        mm.put_folio(folio);
    }
}

/// What a walker does until it is told to stop.
fn walk(mm: &'static Mm) {
    let walkers = (mm.env.online_cpus() - 1) as u64;
    let mut n = STARTED.fetch_add(1, Ordering::AcqRel) as u64 * (read(&FRAMES) / MAX_CPUS as u64);
    let mut spent = 0;
    let mut tried = 0;
    while !STOP.load(Ordering::Acquire) {
        let run = read(&RUN);
        if tried == TURN_OF_TRIES || spent + read(&HELD) / walkers >= run {
            tried = 0;
            Machine::relax();
            continue;
        }
        tried += 1;
        try_page(mm, n);
        n += 1;
        TRIES.fetch_add(1, Ordering::Relaxed);
        // Whoever waits in a try lets the others run meanwhile.
        spent += read(&EACH) + (read(&RUN) - run);
    }
}

/// The CPU that remaps gives up its turn, at each step of a remap and after it, until the others have no time left, or wait for it.
/// While it waits for others elsewhere, these try.
fn end_turn() {
    let tried = (read(&TRIES) - read(&BEFORE)) * read(&EACH);
    RUN.fetch_add((time::now_ns() - read(&TURN)).saturating_sub(tried), Ordering::Relaxed);
    let mut before = u64::MAX;
    while read(&TRIES) != before {
        before = read(&TRIES);
        Machine::relax();
    }
    begin_turn();
}

fn begin_turn() {
    BEFORE.store(read(&TRIES), Ordering::Relaxed);
    TURN.store(time::now_ns(), Ordering::Relaxed);
}

/// Threads that walk, until they are dropped.
struct Walkers(ArrayVec<ThreadId, MAX_CPUS>);

impl Walkers {
    /// One for each CPU but this one; `None` where one cannot be had, which is said.
    fn start(mm: &'static Mm) -> Option<Walkers> {
        let mut walkers = Walkers(ArrayVec::new());
        [&TRIES, &WRONG, &RUN, &HELD].iter().for_each(|number| number.store(0, Ordering::Relaxed));
        STARTED.store(0, Ordering::Release);
        STOP.store(false, Ordering::Release);
        let count = mm.env.online_cpus() - 1;
        for _ in 0..count {
            match sched::spawn("hvo-walker", walk) {
                Ok(thread) => walkers.0.push(thread),
                Err(error) => {
                    println!("error: a thread that walks: {error}");
                    return None;
                }
            }
        }
        while STARTED.load(Ordering::Acquire) < count {
            sched::yield_now();
            Machine::relax();
        }
        Some(walkers)
    }
}

impl Drop for Walkers {
    fn drop(&mut self) {
        STOP.store(true, Ordering::Release);
        self.0.iter().for_each(|&thread| sched::join(thread));
    }
}

/// Prints the rows, where there is another CPU.
pub(super) fn run(mm: &'static Mm, sheet: &mut Sheet<'_, '_>) -> Option<()> {
    let walkers = mm.env.online_cpus() as u64 - 1;
    if walkers == 0 {
        return Some(());
    }
    let folios = Folios::take(mm, Order::PMD, FOLIOS);
    let n = folios.heads().len();
    if n == 0 {
        println!("error: memory has no folio of 2 MiB to spare for the list");
        return None;
    }
    // What has to be split is split: that is looked at elsewhere.
    folios.round_trip(n)?;
    let pfns = || folios.heads().iter().map(|head| head.pfn().raw());
    let from = pfns().min()?;
    FROM.store(from, Ordering::Relaxed);
    FRAMES.store(pfns().max()? + Order::PMD.pages() - from, Ordering::Relaxed);
    let began = time::now_ns();
    (0..FIRST).for_each(|n| try_page(mm, n));
    let each = ((time::now_ns() - began) / FIRST).max(1);
    EACH.store(each, Ordering::Relaxed);
    let threads = Walkers::start(mm)?;
    let mut remaps = Reading::NOTHING;
    begin_turn();
    env::listen(Some(|_| end_turn()));
    let done = (0..ROUNDS * 2).try_for_each(|way| {
        remaps = remaps.and(if way % 2 == 0 { folios.optimise(n) } else { folios.restore(n) }?);
        HELD.store(remaps.pauses.total_ns, Ordering::Relaxed);
        end_turn();
        Some(())
    });
    env::listen(None);
    let (tries, wrong, ran) = (read(&TRIES), read(&WRONG), read(&RUN));
    drop(threads);
    done?;
    let name = "walkers";
    remaps.note(name, sheet);
    sheet.add(name, "folios", ROUNDS * n as u64 * 2, "count");
    sheet.add(name, "tries", tries, "count");
    sheet.add(name, "progress", tries * each * 1000 / (ran * walkers).max(1), "permille");
    sheet.add(name, "wrong", wrong, "count");
    Some(())
}
