//! Stopping and pausing the other CPUs, and running on each.

use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use arch::Machine;
use arch::contract::{Cpu, MAX_CPUS};
use mm::Mm;
use mm::locks::{self, SleepLock};

use super::kit::{Threads, comes};
use crate::sched::{self, State};
use crate::selftest::{Verdict, check, check_eq, require, selftest};
use crate::stop::{self, Asked, Pauses};
use crate::time;

selftest!("stop::a_stop_comes_by_a_change_of_threads", a_stop_comes_by_a_change_of_threads);
selftest!("stop::idle_cpus_stand_still_and_measure_it", idle_cpus_stand_still_and_measure_it);
selftest!("stop::pauses_are_counted_when_the_call_returns", pauses_are_counted_when_the_call_returns);
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

/// A way to hold all other CPUs.
type Hold = fn(&Mm, &mut dyn FnMut());

const HOLDS: [Hold; 2] = [|mm, f| mm.env.stop_machine(f), |mm, f| mm.env.pause_others(f)];

/// While one CPU has the machine stopped or paused no other one counts; before and after they do.
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
    for hold in HOLDS.iter().cycle().take(40) {
        let before = total();
        check!(comes(|| total() > before), "nobody counts");
        let (mut at_begin, mut at_end) = (0, 0);
        hold(mm, &mut || {
            at_begin = total();
            let until = time::now_ns() + 200_000;
            while time::now_ns() < until {}
            at_end = total();
        });
        check_eq!(at_end, at_begin, "the count while the others are held");
    }
    Ok(())
}

/// Stoppers that run at this moment.
fn running_stoppers() -> usize {
    let mut running = 0;
    sched::for_each_thread(|thread| {
        running += usize::from(thread.name == "stopper" && matches!(thread.state, State::Running(_)));
    });
    running
}

/// During a stop every other CPU runs its stopper, whatever it ran before: a thread that spins, or none. During a pause
/// none does.
fn a_stop_comes_by_a_change_of_threads(mm: &'static Mm) -> Verdict {
    let others = mm.env.online_cpus() - 1;
    require!(others > 0, "two CPUs");
    let mut running = [0; 4];
    mm.env.stop_machine(&mut || running[0] = running_stoppers());
    mm.env.pause_others(&mut || running[1] = running_stoppers());
    let threads = Threads::start(others + 1, &STOP, count)?;
    mm.env.stop_machine(&mut || running[2] = running_stoppers());
    mm.env.pause_others(&mut || running[3] = running_stoppers());
    drop(threads);
    check_eq!(
        running,
        [others, 0, others, 0],
        "stoppers in: stop, pause, stop with threads, pause with threads"
    );
    Ok(())
}

const LENGTH_NS: u64 = 100_000;

/// CPUs that wait for an interrupt come too. Each says how long it stood still, and who asked how many interrupts it has
/// sent: one to each CPU to come and one to go.
fn idle_cpus_stand_still_and_measure_it(mm: &'static Mm) -> Verdict {
    let others = mm.env.online_cpus() as u64 - 1;
    require!(others > 0, "two CPUs");
    let since = |now: Asked, then: Asked| [now.stop - then.stop, now.pause - then.pause];
    let (asked, ipis) = (stop::asked(), stop::ipis());
    stop::take_pauses();
    for hold in HOLDS.iter().cycle().take(20) {
        sched::sleep_ns(1_000_000);
        hold(mm, &mut || {
            let until = time::now_ns() + LENGTH_NS;
            while time::now_ns() < until {}
        });
    }
    let Pauses { count, total_ns, longest_ns } = stop::take_pauses();
    check_eq!(since(stop::asked(), asked), [10, 10], "stops and pauses");
    check_eq!(since(stop::ipis(), ipis), [20 * others, 20 * others], "interrupts for stops and pauses");
    check_eq!(count, 20 * others, "times that a CPU stood still");
    check!(longest_ns >= LENGTH_NS, "the longest took {longest_ns} ns, less than {LENGTH_NS}");
    check!(total_ns >= count * LENGTH_NS, "{count} took {total_ns} ns, less than {LENGTH_NS} each");
    check_eq!(stop::take_pauses().count, 0, "pauses after they were taken");
    Ok(())
}

/// Who made a request finds the pauses of all others counted at once, however fast it looks: none is added later.
fn pauses_are_counted_when_the_call_returns(mm: &'static Mm) -> Verdict {
    let others = mm.env.online_cpus() as u64 - 1;
    require!(others > 0, "two CPUs");
    stop::take_pauses();
    for (round, hold) in HOLDS.iter().cycle().take(400).enumerate() {
        hold(mm, &mut || ());
        let counted = stop::take_pauses().count;
        check!(counted == others, "round {round}: {counted} of {others} pauses were counted");
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

/// One is held while the machine is stopped; others sleep until it is free.
static LOCK: SleepLock = SleepLock::new(locks::TURN);

fn request(mm: &'static Mm) {
    let mut work = || {
        OVERLAPS.fetch_add(INSIDE.fetch_add(1, Ordering::SeqCst), Ordering::SeqCst);
        INSIDE.fetch_sub(1, Ordering::SeqCst);
    };
    for round in 0_u64.. {
        if STOP.load(Ordering::Relaxed) {
            return;
        }
        match round % 5 {
            0 => mm.env.stop_machine(&mut work),
            1 => mm.env.pause_others(&mut work),
            2 => {
                let _held = LOCK.write(mm.env);
                mm.env.stop_machine(&mut work);
            }
            3 => mm.env.run_on_each_cpu(&|| ()),
            _ => mm.env.grace_period(),
        }
        REQUESTS.fetch_add(1, Ordering::Relaxed);
    }
}

/// More threads than CPUs make requests of all kinds at the same time, some with a sleeping lock held: one after another
/// is answered, and all get on.
fn requests_from_many_threads(mm: &'static Mm) -> Verdict {
    let counters = [&REQUESTS, &INSIDE, &OVERLAPS];
    counters.iter().for_each(|counter| counter.store(0, Ordering::SeqCst));
    let threads = Threads::start(mm.env.online_cpus() + 1, &STOP, request)?;
    // However slow the machine is that this one runs on: only if no thread gets on for long is one stuck.
    let mut seen = 0;
    while seen < 200 {
        let before = seen;
        let got_on = comes(|| {
            seen = REQUESTS.load(Ordering::Relaxed);
            seen > before
        });
        check!(got_on, "after {before} requests none for {STUCK_MS} ms");
    }
    drop(threads);
    check_eq!(OVERLAPS.load(Ordering::SeqCst), 0, "requests inside others");
    Ok(())
}
