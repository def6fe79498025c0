//! What memory management needs from this kernel.
#![forbid(unsafe_code)]

use arch::sync::{Rank, SpinLock};
use mm::Mm;
use mm::env::{KernelEnv, Killed, SpawnError};
use mm::steps::Step;

use crate::{sched, stop, time};

/// The kernel, as memory management sees it.
pub struct Env;

/// The one value.
pub static ENV: Env = Env;

/// Who is told of the steps of a remap. The lock is the highest of all, as steps are announced under any other.
static LISTENER: SpinLock<Option<fn(&Step)>> = SpinLock::new(Rank(95), None);

/// Tells `listener` of every step of a remap from now on; `None`: nobody.
pub fn listen(listener: Option<fn(&Step)>) {
    *LISTENER.lock() = listener;
}

impl KernelEnv for Env {
    fn online_cpus(&self) -> usize {
        stop::online_cpus()
    }
    fn stop_machine(&self, f: &mut dyn FnMut()) {
        stop::stop_machine(f);
    }
    fn pause_others(&self, f: &mut dyn FnMut()) {
        stop::pause_others(f);
    }
    fn grace_period(&self) {
        stop::grace_period();
    }
    fn run_on_each_cpu(&self, f: &(dyn Fn() + Sync)) {
        stop::run_on_each_cpu(f);
    }
    fn park(&self, key: usize, still_wait: &dyn Fn() -> bool) {
        sched::park(key, still_wait);
    }
    fn park_killable(&self, key: usize, still_wait: &dyn Fn() -> bool) -> Result<(), Killed> {
        match sched::current_process() {
            Some(process) => process.park(key, still_wait).map_err(|_| Killed),
            None => {
                sched::park(key, still_wait);
                Ok(())
            }
        }
    }
    fn park_until(&self, key: usize, until: u64, still_wait: &dyn Fn() -> bool) {
        sched::park_until(key, until, still_wait);
    }
    fn unpark_all(&self, key: usize) {
        sched::unpark_all(key);
    }
    fn spawn(&self, name: &'static str, body: fn(&Mm)) -> Result<(), SpawnError> {
        sched::spawn(name, body).map(|_| ()).map_err(|_| SpawnError)
    }
    fn now_ns(&self) -> u64 {
        time::now_ns()
    }
    fn at_step(&self, step: &Step) {
        let listener = *LISTENER.lock();
        if let Some(listener) = listener {
            listener(step);
        }
    }
}
