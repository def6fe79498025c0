//! Holding the other CPUs, and running on each.

use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use arch::Machine;
use arch::contract::{Cpu, MAX_CPUS};
use mm::Mm;

use super::kit::{Threads, within_ms};
use crate::selftest::{Verdict, check, check_eq, require, selftest};
use crate::time;

selftest!("stop::the_others_are_held", the_others_are_held);
selftest!("stop::masked_interrupts_are_waited_for", masked_interrupts_are_waited_for);
selftest!("stop::each_cpu_runs_the_function_once", each_cpu_runs_the_function_once);
selftest!("stop::requests_from_many_threads", requests_from_many_threads);

static STOP: AtomicBool = AtomicBool::new(false);
static COUNTERS: [AtomicU64; MAX_CPUS] = [const { AtomicU64::new(0) }; MAX_CPUS];

fn count(_: &'static Mm) {
    while !STOP.load(Ordering::Relaxed) {
        COUNTERS[Machine::id().index()].fetch_add(1, Ordering::Relaxed);
    }
}

fn total() -> u64 {
    COUNTERS.iter().map(|counter| counter.load(Ordering::SeqCst)).sum()
}

/// Counts as one does who holds a spinlock: interrupts are masked for a while.
fn count_masked(_: &'static Mm) {
    while !STOP.load(Ordering::Relaxed) {
        let irq = Machine::mask_irqs();
        let until = time::now_ns() + 500_000;
        while time::now_ns() < until {
            COUNTERS[Machine::id().index()].fetch_add(1, Ordering::Relaxed);
        }
        Machine::restore_irqs(irq);
    }
}

/// While one CPU has the machine stopped no other one counts; before and after they do.
fn the_others_are_held(mm: &'static Mm) -> Verdict {
    held_while(mm, count)
}

/// A CPU that cannot take the interrupt at once is waited for: it counts on until it does, and not a moment longer.
fn masked_interrupts_are_waited_for(mm: &'static Mm) -> Verdict {
    held_while(mm, count_masked)
}

fn held_while(mm: &'static Mm, count: fn(&'static Mm)) -> Verdict {
    require!(mm.env.online_cpus() > 1, "two CPUs");
    let _threads = Threads::start(mm.env.online_cpus(), &STOP, count)?;
    for _ in 0..20 {
        let before = total();
        check!(within_ms(2000, || total() > before), "nobody counts");
        let (mut at_begin, mut at_end) = (0, 0);
        mm.env.stop_machine(&mut || {
            at_begin = total();
            let until = time::now_ns() + 200_000;
            while time::now_ns() < until {}
            at_end = total();
        });
        check_eq!(at_end, at_begin, "the count while the others are held");
    }
    Ok(())
}

/// The function runs once on every CPU, and has on all of them when the call returns.
fn each_cpu_runs_the_function_once(mm: &'static Mm) -> Verdict {
    let runs = [const { AtomicU64::new(0) }; MAX_CPUS];
    for round in 1..=10 {
        mm.env.run_on_each_cpu(&|| {
            runs[Machine::id().index()].fetch_add(1, Ordering::Relaxed);
        });
        let exact = |cpu: usize| if cpu < mm.env.online_cpus() { round } else { 0 };
        let wrong = (0..MAX_CPUS).find(|&cpu| runs[cpu].load(Ordering::Relaxed) != exact(cpu));
        check!(wrong.is_none(), "round {round}: CPU {wrong:?} ran it another number of times");
    }
    Ok(())
}

/// Time after which a request that others wait for will not come any more; one takes less than a millisecond.
const STUCK_MS: u64 = 30_000;

static REQUESTS: AtomicU64 = AtomicU64::new(0);
static INSIDE: AtomicU64 = AtomicU64::new(0);
static OVERLAPS: AtomicU64 = AtomicU64::new(0);

fn request(mm: &'static Mm) {
    while !STOP.load(Ordering::Relaxed) {
        mm.env.stop_machine(&mut || {
            OVERLAPS.fetch_add(INSIDE.fetch_add(1, Ordering::SeqCst), Ordering::SeqCst);
            INSIDE.fetch_sub(1, Ordering::SeqCst);
        });
        REQUESTS.fetch_add(1, Ordering::Relaxed);
    }
}

/// Threads on all CPUs stop the machine at the same time: one after another does, and all get on.
fn requests_from_many_threads(mm: &'static Mm) -> Verdict {
    let counters = [&REQUESTS, &INSIDE, &OVERLAPS];
    counters.iter().for_each(|counter| counter.store(0, Ordering::SeqCst));
    let threads = Threads::start(mm.env.online_cpus() + 1, &STOP, request)?;
    // However slow the machine is that this one runs on: only if no thread gets on for long is one stuck.
    let mut seen = 0;
    while seen < 50 {
        let before = seen;
        let got_on = within_ms(STUCK_MS, || {
            seen = REQUESTS.load(Ordering::Relaxed);
            seen > before
        });
        check!(got_on, "after {before} requests none for {STUCK_MS} ms");
    }
    drop(threads);
    check_eq!(OVERLAPS.load(Ordering::SeqCst), 0, "requests inside others");
    Ok(())
}
