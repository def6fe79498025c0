//! Waiting, waking, acting as another, and what ends a machine that does not end by itself.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::super::{
    Job, MachineDesc, irqs_masked, park_while, run_as, run_on_cpus, seeds, steps, stop_others, unpark_all,
    with_fault_handler, with_machine,
};
use crate::Machine;
use crate::contract::{Cpu, CpuId};
use crate::sync::{Rank, SpinLock};

const DESC: MachineDesc = MachineDesc { cpus: 4, ..MachineDesc::DEFAULT };
const KEY: usize = 0x1000;

fn with_seeds(n: u64, f: impl Fn()) {
    seeds(n).for_each(|seed| with_machine(MachineDesc { seed, ..DESC }, &f));
}

fn spin_until(done: &AtomicBool) {
    while !done.load(Ordering::Relaxed) {
        Machine::relax();
    }
}

/// Whoever sleeps goes on when it is woken, and no wake-up between question and sleep is lost.
#[test]
fn sleepers_are_woken() {
    with_seeds(100, || {
        let tokens = AtomicU64::new(0);
        let take = || {
            for _ in 0..10 {
                while tokens.load(Ordering::Relaxed) == 0 {
                    park_while(KEY, &|| tokens.load(Ordering::Relaxed) == 0);
                }
                tokens.fetch_sub(1, Ordering::Relaxed);
            }
        };
        let give = || {
            for _ in 0..30 {
                tokens.fetch_add(1, Ordering::Relaxed);
                unpark_all(KEY);
            }
        };
        run_on_cpus(vec![Box::new(take), Box::new(give), Box::new(take), Box::new(take)]);
        assert_eq!(tokens.load(Ordering::Relaxed), 0);
    });
}

/// A sleeper is woken by its own key only, and stands in nobody's way when the machine is stopped.
#[test]
fn a_sleeper_can_be_stopped() {
    with_seeds(20, || {
        let woken = AtomicBool::new(false);
        let sleep = || {
            while !woken.load(Ordering::Relaxed) {
                park_while(KEY, &|| !woken.load(Ordering::Relaxed));
            }
        };
        let stop = || {
            unpark_all(KEY + 8);
            stop_others(&mut || woken.store(true, Ordering::Relaxed));
            unpark_all(KEY);
        };
        run_on_cpus(vec![Box::new(sleep), Box::new(stop)]);
    });
}

/// When all sleep, the test ends with who sleeps where.
#[test]
#[should_panic(expected = "model: deadlock: vCPU 0 sleeps at place 0, vCPU 1 sleeps at place 1")]
fn all_asleep_is_a_deadlock() {
    with_machine(DESC, || {
        let sleep = |key| loop {
            park_while(key, &|| true);
        };
        let first = move || sleep(KEY);
        let second = move || {
            // Place 0 is taken first.
            unpark_all(KEY);
            sleep(KEY + 8)
        };
        run_on_cpus(vec![Box::new(first), Box::new(second)]);
    });
}

/// A vCPU that sleeps while no other runs is told so.
#[test]
#[should_panic(expected = "model: deadlock: vCPU 0 sleeps, and no other vCPU runs that could wake it")]
fn a_lonely_sleeper() {
    with_machine(DESC, || park_while(KEY, &|| true));
}

/// Two vCPUs that hold what the other wants are told long before the limit of steps.
#[test]
#[should_panic(expected = "model: deadlock: vCPU 0 spins since lock rank ")]
fn a_deadlock_of_locks() {
    with_machine(DESC, || {
        let (a, b) = (SpinLock::new(Rank(1), ()), SpinLock::new(Rank(2), ()));
        let both = [AtomicBool::new(false), AtomicBool::new(false)];
        // No order of ranks catches this: each holds one lock and waits for the other by try.
        let job = |own: usize, first: &SpinLock<()>, second: &SpinLock<()>| {
            let _first = first.lock();
            both[own].store(true, Ordering::Relaxed);
            spin_until(&both[1 - own]);
            while second.is_locked() {
                Machine::relax();
            }
        };
        run_on_cpus(vec![Box::new(|| job(0, &a, &b)), Box::new(|| job(1, &b, &a))]);
    });
}

/// A test that goes on for ever in steps ends too.
#[test]
#[should_panic(expected = "model: 1000 steps without an end")]
fn the_limit_of_steps() {
    with_machine(MachineDesc { max_steps: 1000, ..DESC }, || {
        loop {
            Machine::interleave();
        }
    });
}

/// As another vCPU a job has its number, and its own task stands still meanwhile; never inside of what masks
/// interrupts.
#[test]
fn acting_as_another_is_an_interrupt() {
    with_seeds(100, || {
        let (inside, done, acted) = (AtomicBool::new(false), AtomicBool::new(false), AtomicU64::new(0));
        let other = || {
            while !done.load(Ordering::Relaxed) {
                let before = acted.load(Ordering::Relaxed);
                let irq = Machine::mask_irqs();
                inside.store(true, Ordering::Relaxed);
                let entered = acted.load(Ordering::Relaxed);
                (0..3).for_each(|_| Machine::interleave());
                assert_eq!(acted.load(Ordering::Relaxed), entered);
                inside.store(false, Ordering::Relaxed);
                Machine::restore_irqs(irq);
                assert!(before <= entered);
                Machine::relax();
            }
        };
        let caller = || {
            for _ in 0..10 {
                run_as(CpuId::new(1), || {
                    assert_eq!(Machine::id(), CpuId::new(1));
                    assert!(!inside.load(Ordering::Relaxed) && !irqs_masked());
                    acted.fetch_add(1, Ordering::Relaxed);
                    Machine::interleave();
                    assert_eq!(Machine::id(), CpuId::new(1));
                    assert!(!inside.load(Ordering::Relaxed), "the interrupted job ran on");
                });
                assert_eq!(Machine::id(), CpuId::BOOT);
            }
            done.store(true, Ordering::Relaxed);
        };
        run_on_cpus(vec![Box::new(caller), Box::new(other)]);
    });
}

/// Every vCPU interrupts every other at once; nobody waits for ever, and everybody ends as itself.
#[test]
fn everybody_acts_as_everybody() {
    with_seeds(100, || {
        let job = |own: usize| {
            for n in (0..12).map(|n| CpuId::new(n % 4)) {
                run_as(n, || {
                    Machine::interleave();
                    assert_eq!(Machine::id(), n);
                });
                assert_eq!(Machine::id(), CpuId::new(own));
                stop_others(&mut || Machine::interleave());
            }
        };
        run_on_cpus((0..4).map(|own| -> Job<'_> { Box::new(move || job(own)) }).collect());
    });
}

/// A panic on one vCPU drops what the others hold, in their places, and leaves nothing locked.
#[test]
fn a_panic_unwinds_all() {
    struct Dropped<'a>(&'a AtomicU64);
    impl Drop for Dropped<'_> {
        fn drop(&mut self) {
            assert!(crate::unwinding());
            // A step while it unwinds is no switch.
            Machine::interleave();
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
    with_seeds(20, || {
        let (locks, dropped) = ([const { SpinLock::new(Rank(1), ()) }; 4], AtomicU64::new(0));
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            let job = |own: usize| {
                let _guard = locks[own].lock();
                let _dropped = Dropped(&dropped);
                (0..1000).for_each(|_| Machine::interleave());
                assert!(own != 2, "the first failure");
                loop {
                    Machine::interleave();
                }
            };
            run_on_cpus((0..4).map(|own| -> Job<'_> { Box::new(move || job(own)) }).collect());
        }));
        let panic = outcome.unwrap_err();
        assert_eq!(panic.downcast_ref::<&str>(), Some(&"the first failure"));
        assert!(locks.iter().all(|lock| !lock.is_locked()));
        assert!(dropped.load(Ordering::Relaxed) >= 1);
        assert!(!irqs_masked() && !crate::unwinding());
        // The machine goes on.
        run_on_cpus((0..4).map(|_| -> Job<'_> { Box::new(|| assert!(!locks[0].is_locked())) }).collect());
        assert_eq!(steps().schedules, 2);
    });
}

/// More jobs than vCPUs, jobs inside of jobs, and a handler that only one job has, are refused.
#[test]
fn misuse_is_refused() {
    let refusal = |jobs: usize, job: fn()| {
        let run =
            || with_machine(DESC, || run_on_cpus((0..jobs).map(|_| -> Job<'_> { Box::new(job) }).collect()));
        let panic = catch_unwind(run).unwrap_err();
        panic
            .downcast_ref::<&str>()
            .map(|words| (*words).to_owned())
            .or(panic.downcast_ref().cloned())
            .unwrap()
    };
    assert_eq!(refusal(5, || ()), "model: 5 jobs for a machine of 4 vCPUs");
    assert_eq!(refusal(1, || run_on_cpus(vec![])), "model: run_on_cpus inside of a job");
    let handler = || with_fault_handler(&|_, _, _| false, || ());
    assert_eq!(refusal(1, handler), "model: with_fault_handler is not for jobs");
}

/// A machine inside of a job is apart from the one around it.
#[test]
fn machines_nest() {
    with_machine(DESC, || {
        let job = || {
            Machine::interleave();
            let own = Machine::id();
            with_machine(MachineDesc { cpus: 2, ..DESC }, || {
                run_on_cpus(vec![Box::new(Machine::interleave), Box::new(Machine::interleave)]);
                assert_eq!(steps().steps, 2);
            });
            assert_eq!(Machine::id(), own);
        };
        run_on_cpus((0..4).map(|_| -> Job<'_> { Box::new(job) }).collect());
    });
}
