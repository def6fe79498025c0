//! Grace periods: they wait for what must have ended, and for nothing else.

use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use arch::Machine;
use arch::contract::Cpu;
use mm::Mm;

use super::kit::{Threads, comes};
use crate::selftest::{Verdict, check, check_eq, require, selftest};
use crate::{stop, time};

selftest!("stop::grace_waits_for_masked_sections", grace_waits_for_masked_sections);
selftest!("stop::later_sections_see_what_was_written", later_sections_see_what_was_written);
selftest!("stop::grace_holds_nobody", grace_holds_nobody);
selftest!("stop::grace_interrupts_no_idle_cpu", grace_interrupts_no_idle_cpu);

static STOP: AtomicBool = AtomicBool::new(false);

/// Does nothing for a while.
fn linger(ns: u64) {
    let until = time::now_ns() + ns;
    while time::now_ns() < until {
        Machine::relax();
    }
}

/// The number of the section: odd within one.
static SECTION: AtomicU64 = AtomicU64::new(0);

fn long_sections(_: &'static Mm) {
    while !STOP.load(Ordering::Relaxed) {
        let irq = Machine::mask_irqs();
        SECTION.fetch_add(1, Ordering::SeqCst);
        linger(300_000);
        SECTION.fetch_add(1, Ordering::SeqCst);
        Machine::restore_irqs(irq);
    }
}

/// A section in which interrupts are masked, and which was under way at the call, has ended at the return.
fn grace_waits_for_masked_sections(mm: &'static Mm) -> Verdict {
    require!(mm.env.online_cpus() > 1, "two CPUs");
    SECTION.store(0, Ordering::SeqCst);
    let _threads = Threads::start(1, &STOP, long_sections)?;
    for round in 0..20 {
        let mut before = 0;
        let inside = comes(|| {
            before = SECTION.load(Ordering::SeqCst);
            before % 2 == 1
        });
        check!(inside, "round {round}: no section was seen");
        mm.env.grace_period();
        check!(SECTION.load(Ordering::SeqCst) != before, "round {round}: section {before} has not ended");
    }
    Ok(())
}

/// Something can be found; and what it was is of no use any more.
static LINKED: AtomicBool = AtomicBool::new(true);
static FREED: AtomicBool = AtomicBool::new(false);
static LOOKS: AtomicU64 = AtomicU64::new(0);
static WRONG: AtomicU64 = AtomicU64::new(0);

fn look(_: &'static Mm) {
    while !STOP.load(Ordering::Relaxed) {
        let irq = Machine::mask_irqs();
        if LINKED.load(Ordering::Acquire) {
            for _ in 0..20 {
                WRONG.fetch_add(u64::from(FREED.load(Ordering::Relaxed)), Ordering::Relaxed);
            }
        }
        LOOKS.fetch_add(1, Ordering::Relaxed);
        Machine::restore_irqs(irq);
    }
}

/// Who finds something that is unlinked and then, after a grace period, freed, is done with it by then; who looks later
/// does not find it.
fn later_sections_see_what_was_written(mm: &'static Mm) -> Verdict {
    [&LOOKS, &WRONG].iter().for_each(|counter| counter.store(0, Ordering::SeqCst));
    let threads = Threads::start(mm.env.online_cpus(), &STOP, look)?;
    for round in 0..200 {
        let before = LOOKS.load(Ordering::Relaxed);
        check!(comes(|| LOOKS.load(Ordering::Relaxed) > before), "round {round}: nobody looks");
        LINKED.store(false, Ordering::Relaxed);
        mm.env.grace_period();
        FREED.store(true, Ordering::Relaxed);
        linger(20_000);
        FREED.store(false, Ordering::Relaxed);
        LINKED.store(true, Ordering::Release);
    }
    drop(threads);
    check_eq!(WRONG.load(Ordering::Relaxed), 0, "looks at what was freed");
    Ok(())
}

/// While threads run everywhere, grace periods end, and no CPU stands still for one; a CPU that does not pass by itself
/// in time is interrupted.
fn grace_holds_nobody(mm: &'static Mm) -> Verdict {
    require!(mm.env.online_cpus() > 1, "two CPUs");
    let threads = Threads::start(mm.env.online_cpus(), &STOP, look)?;
    let (asked, pauses) = (stop::asked().grace, stop::pauses().count);
    for _ in 0..50 {
        mm.env.grace_period();
    }
    let asked = stop::asked().grace - asked;
    let ipis = stop::ipis().total();
    let interrupted = comes(|| {
        mm.env.grace_period();
        stop::ipis().total() > ipis
    });
    drop(threads);
    check_eq!(asked, 50, "grace periods");
    check!(interrupted, "no grace period interrupts a CPU that runs");
    check_eq!(stop::pauses().count, pauses, "times that a CPU stood still");
    Ok(())
}

/// Where nothing runs a grace period sends no interrupt: a CPU that idles need not be asked.
fn grace_interrupts_no_idle_cpu(mm: &'static Mm) -> Verdict {
    let mut silent = 0;
    let enough = comes(|| {
        let ipis = stop::ipis().total();
        mm.env.grace_period();
        silent += u64::from(stop::ipis().total() == ipis);
        silent >= 50
    });
    check!(enough, "{silent} grace periods without an interrupt");
    Ok(())
}
