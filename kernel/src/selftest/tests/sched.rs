//! The scheduler: every CPU runs threads, nobody keeps one, sleepers wake, no wake-up is lost.

use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use arch::Machine;
use arch::contract::{Cpu, MAX_CPUS};
use mm::Mm;

use super::kit::{Threads, comes};
use crate::selftest::{Verdict, check, check_eq, selftest};
use crate::{sched, time};

selftest!("sched::every_cpu_runs_threads", every_cpu_runs_threads);
selftest!("sched::a_spinning_thread_is_preempted", a_spinning_thread_is_preempted);
selftest!("sched::sleepers_wake_in_order", sleepers_wake_in_order);
selftest!("sched::no_wake_up_is_lost", no_wake_up_is_lost);
selftest!("sched::an_early_wake_up_is_seen", an_early_wake_up_is_seen);
selftest!("sched::ended_threads_free_their_stacks", ended_threads_free_their_stacks);

const MS: u64 = 1_000_000;

static STOP: AtomicBool = AtomicBool::new(false);
static CPUS: AtomicU32 = AtomicU32::new(0);

fn note_cpu(_: &'static Mm) {
    while !STOP.load(Ordering::Relaxed) {
        CPUS.fetch_or(1 << Machine::id().index(), Ordering::Relaxed);
        sched::yield_now();
    }
}

/// Enough threads reach every CPU.
fn every_cpu_runs_threads(mm: &'static Mm) -> Verdict {
    let all = (1 << mm.env.online_cpus()) - 1;
    CPUS.store(0, Ordering::Relaxed);
    let _threads = Threads::start(2 * mm.env.online_cpus(), &STOP, note_cpu)?;
    comes(|| CPUS.load(Ordering::Relaxed) == all);
    check_eq!(CPUS.load(Ordering::Relaxed), all, "CPUs that ran a thread, a bit each");
    Ok(())
}

static TAKEN: AtomicU32 = AtomicU32::new(0);
static LAPS: [AtomicU64; MAX_CPUS + 2] = [const { AtomicU64::new(0) }; MAX_CPUS + 2];

fn spin(_: &'static Mm) {
    let own = &LAPS[TAKEN.fetch_add(1, Ordering::Relaxed) as usize];
    while !STOP.load(Ordering::Relaxed) {
        own.fetch_add(1, Ordering::Relaxed);
    }
}

/// Two threads more than CPUs, none of which ever lets go: each gets on again and again.
fn a_spinning_thread_is_preempted(mm: &'static Mm) -> Verdict {
    let count = mm.env.online_cpus() + 2;
    TAKEN.store(0, Ordering::Relaxed);
    LAPS.iter().for_each(|laps| laps.store(0, Ordering::Relaxed));
    let _threads = Threads::start(count, &STOP, spin)?;
    for round in 0..2 {
        let laps = || LAPS[..count].iter().map(|laps| laps.load(Ordering::Relaxed));
        let mut before = [0; MAX_CPUS + 2];
        before.iter_mut().zip(laps()).for_each(|(before, laps)| *before = laps);
        let all_moved = || laps().zip(before).all(|(now, before)| now > before);
        check!(comes(all_moved), "round {round}: one of {count} threads stands still");
    }
    Ok(())
}

static ORDER: AtomicU32 = AtomicU32::new(0);

/// Far apart, as a machine that has no CPU for this one for a while delays either.
const LONG_NS: u64 = 250 * MS;
const SHORT_NS: u64 = 20 * MS;

fn sleep_long(_: &'static Mm) {
    sched::sleep_ns(LONG_NS);
    ORDER.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |order| Some(order * 10 + 6)).ok();
}

fn sleep_short(_: &'static Mm) {
    sched::sleep_ns(SHORT_NS);
    ORDER.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |order| Some(order * 10 + 2)).ok();
}

/// A sleep lasts at least as long as was asked, and the shorter one ends first.
fn sleepers_wake_in_order(_: &'static Mm) -> Verdict {
    ORDER.store(0, Ordering::SeqCst);
    let began = time::now_ns();
    let long = Threads::start(1, &STOP, sleep_long)?;
    let short = Threads::start(1, &STOP, sleep_short)?;
    drop(short);
    let first = time::now_ns() - began;
    drop(long);
    let both = time::now_ns() - began;
    check!(first >= SHORT_NS && both >= LONG_NS, "slept {first} and {both} ns");
    check_eq!(ORDER.load(Ordering::SeqCst), 26, "the order in which they woke");
    Ok(())
}

const ROUNDS: u32 = 300;
static TURN: AtomicU32 = AtomicU32::new(0);
const KEY: usize = 0x7ea;

/// Waits for odd turns and makes them even.
fn partner(_: &'static Mm) {
    while !STOP.load(Ordering::Relaxed) {
        sched::park(KEY, &|| TURN.load(Ordering::SeqCst).is_multiple_of(2) && !STOP.load(Ordering::SeqCst));
        if !TURN.load(Ordering::SeqCst).is_multiple_of(2) {
            TURN.fetch_add(1, Ordering::SeqCst);
            sched::unpark_all(KEY);
        }
    }
}

/// Two threads pass a turn to and fro; each sleeps until it is woken. A wake-up that is lost is noticed by a third,
/// which waits for the end.
fn no_wake_up_is_lost(_: &'static Mm) -> Verdict {
    TURN.store(0, Ordering::SeqCst);
    let threads = Threads::start(1, &STOP, partner)?;
    let mut reached = true;
    for turn in (1..2 * ROUNDS).step_by(2) {
        TURN.store(turn, Ordering::SeqCst);
        sched::unpark_all(KEY);
        reached = comes(|| TURN.load(Ordering::SeqCst) == turn + 1);
        if !reached {
            break;
        }
    }
    STOP.store(true, Ordering::SeqCst);
    sched::unpark_all(KEY);
    drop(threads);
    check!(reached, "turn {} was never taken", TURN.load(Ordering::SeqCst));
    Ok(())
}

/// A wake-up that comes before the sleep leaves nothing to wait for.
fn an_early_wake_up_is_seen(_: &'static Mm) -> Verdict {
    let still_wait = AtomicBool::new(true);
    still_wait.store(false, Ordering::SeqCst);
    sched::unpark_all(KEY);
    let began = time::now_ns();
    sched::park(KEY, &|| still_wait.load(Ordering::SeqCst));
    check!(time::now_ns() - began < 2000 * MS, "slept though there was nothing to wait for");
    Ok(())
}

fn nothing(_: &'static Mm) {}

/// Many short threads, one after another: all end, and the runner finds their stacks free.
fn ended_threads_free_their_stacks(_: &'static Mm) -> Verdict {
    for _ in 0..8 {
        drop(Threads::start(8, &STOP, nothing)?);
    }
    Ok(())
}
