//! Holding the other vCPUs.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::Machine;
use crate::contract::Cpu;
use crate::model::{MachineDesc, run_on_cpus, stop_others, with_machine};

const STOPS: usize = 200;

/// Runs `turn` on two vCPUs again and again, and `check` on a third while it stops them.
fn stop_while(turn: impl Fn() + Sync, check: impl Fn() + Sync) {
    let done = AtomicBool::new(false);
    let stopper = || {
        for _ in 0..STOPS {
            stop_others(&mut || check());
            Machine::relax();
        }
        done.store(true, Ordering::Release);
    };
    let other = || {
        while !done.load(Ordering::Acquire) {
            turn();
            Machine::relax();
        }
    };
    with_machine(MachineDesc { cpus: 3, ..MachineDesc::DEFAULT }, || {
        run_on_cpus(vec![Box::new(stopper), Box::new(other), Box::new(other)]);
    });
}

/// While one vCPU stops the others, none of them makes a step; afterwards they go on.
#[test]
fn nobody_else_steps_during_a_stop() {
    let turns = AtomicU64::new(0);
    stop_while(
        || {
            turns.fetch_add(1, Ordering::Relaxed);
        },
        || {
            let before = turns.load(Ordering::Relaxed);
            (0..50).for_each(|_| Machine::interleave());
            assert_eq!(turns.load(Ordering::Relaxed), before, "a vCPU ran during the stop");
        },
    );
    assert!(turns.load(Ordering::Relaxed) > 0);
}

/// A vCPU is not held between two steps for which it masks interrupts.
#[test]
fn masked_interrupts_put_the_stop_off() {
    let inside = AtomicU64::new(0);
    stop_while(
        || {
            let irq = Machine::mask_irqs();
            inside.fetch_add(1, Ordering::Relaxed);
            Machine::interleave();
            inside.fetch_sub(1, Ordering::Relaxed);
            Machine::restore_irqs(irq);
        },
        || assert_eq!(inside.load(Ordering::Relaxed), 0, "held with interrupts masked"),
    );
}

/// Two vCPUs that want to stop each other do so one after the other.
#[test]
fn stoppers_take_turns() {
    let (running, finished) = (AtomicU64::new(0), AtomicU64::new(0));
    let job = || {
        for _ in 0..STOPS {
            stop_others(&mut || {
                assert_eq!(running.fetch_add(1, Ordering::Relaxed), 0, "two stop at once");
                Machine::interleave();
                running.fetch_sub(1, Ordering::Relaxed);
            });
        }
        finished.fetch_add(1, Ordering::Relaxed);
        while finished.load(Ordering::Relaxed) < 2 {
            Machine::relax();
        }
    };
    with_machine(MachineDesc { cpus: 2, ..MachineDesc::DEFAULT }, || {
        run_on_cpus(vec![Box::new(job), Box::new(job)]);
    });
}
