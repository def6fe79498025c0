//! The kernel above memory management, as far as a test on the host needs one.
#![forbid(unsafe_code)]

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arch::contract::{Cpu, CpuId, MAX_CPUS};
use arch::{Machine, model};

use super::user::Users;
use crate::Mm;
use crate::env::{KernelEnv, Killed, SpawnError};
use crate::fault::FaultError;
use crate::steps::Step;

/// Nanoseconds that a step of the machine takes.
const STEP_NS: u64 = 10;

/// What a test wants to do at each step of a remap.
pub type StepHook = dyn Fn(&Step) + Send + Sync;

/// A kernel thread: its name and its body.
pub type Spawned = (&'static str, fn(&Mm));

/// The host's [`KernelEnv`]. It records the steps that are announced and the threads that are started, which do
/// not run by themselves.
pub struct HostEnv {
    cpus: usize,
    stops: AtomicU64,
    pauses: AtomicU64,
    grace_periods: AtomicU64,
    steps: Mutex<Vec<Step>>,
    hook: Mutex<Option<Arc<StepHook>>>,
    spawned: Mutex<Vec<Spawned>>,
    killed: [Killing; MAX_CPUS],
    pub(super) users: Users,
}

/// Whether the process that a vCPU runs is to end, and what it slept on last that this ends.
#[derive(Default)]
struct Killing {
    yes: AtomicBool,
    key: AtomicUsize,
}

/// Locks; a panic elsewhere is that test's verdict, not ours.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl HostEnv {
    pub(super) fn new(cpus: usize) -> Self {
        HostEnv {
            cpus,
            stops: AtomicU64::new(0),
            pauses: AtomicU64::new(0),
            grace_periods: AtomicU64::new(0),
            steps: Mutex::default(),
            hook: Mutex::default(),
            spawned: Mutex::default(),
            killed: Default::default(),
            users: Users::default(),
        }
    }
    /// How often the machine was stopped.
    #[must_use]
    pub fn stops(&self) -> u64 {
        self.stops.load(Ordering::Relaxed)
    }
    /// How often the other CPUs were paused.
    #[must_use]
    pub fn pauses(&self) -> u64 {
        self.pauses.load(Ordering::Relaxed)
    }
    /// How many grace periods were waited for.
    #[must_use]
    pub fn grace_periods(&self) -> u64 {
        self.grace_periods.load(Ordering::Relaxed)
    }
    /// The steps announced so far.
    #[must_use]
    pub fn steps(&self) -> Vec<Step> {
        lock(&self.steps).clone()
    }
    /// Forgets the steps announced so far.
    pub fn clear_steps(&self) {
        lock(&self.steps).clear();
    }
    /// Calls `hook` at every step from now on, right after its effect, in place of an earlier hook.
    pub fn on_step(&self, hook: impl Fn(&Step) + Send + Sync + 'static) {
        *lock(&self.hook) = Some(Arc::new(hook));
    }
    /// What this vCPU runs is to end, from now on: waits that this ends end.
    pub fn kill(&self, cpu: usize) {
        let killed = &self.killed[cpu];
        killed.yes.store(true, Ordering::SeqCst);
        model::unpark_all(killed.key.load(Ordering::SeqCst));
    }
    /// Why the last user access failed that could not be made good.
    #[must_use]
    pub fn last_fault(&self) -> Option<FaultError> {
        self.users.last_fault()
    }
    /// The kernel threads that were started: name and body.
    #[must_use]
    pub fn spawned(&self) -> Vec<Spawned> {
        lock(&self.spawned).clone()
    }
}

impl KernelEnv for HostEnv {
    fn online_cpus(&self) -> usize {
        self.cpus
    }

    fn stop_machine(&self, f: &mut dyn FnMut()) {
        self.stops.fetch_add(1, Ordering::Relaxed);
        model::stop_others(f);
    }

    fn pause_others(&self, f: &mut dyn FnMut()) {
        self.pauses.fetch_add(1, Ordering::Relaxed);
        model::stop_others(f);
    }

    fn grace_period(&self) {
        self.grace_periods.fetch_add(1, Ordering::Relaxed);
        self.run_on_each_cpu(&|| ());
    }

    fn run_on_each_cpu(&self, f: &(dyn Fn() + Sync)) {
        for cpu in (0..self.cpus).map(CpuId::new) {
            model::run_as(cpu, || masked(f));
        }
    }

    fn park(&self, key: usize, still_wait: &dyn Fn() -> bool) {
        model::park_while(key, still_wait);
    }

    fn park_killable(&self, key: usize, still_wait: &dyn Fn() -> bool) -> Result<(), Killed> {
        let killed = &self.killed[Machine::id().index()];
        killed.key.store(key, Ordering::SeqCst);
        model::park_while(key, &|| !killed.yes.load(Ordering::SeqCst) && still_wait());
        if killed.yes.load(Ordering::SeqCst) { Err(Killed) } else { Ok(()) }
    }

    /// Time passes by steps, so it lets one pass.
    fn park_until(&self, _: usize, _: u64, _: &dyn Fn() -> bool) {
        Machine::interleave();
    }

    fn unpark_all(&self, key: usize) {
        model::unpark_all(key);
    }

    fn spawn(&self, name: &'static str, body: fn(&Mm)) -> Result<(), SpawnError> {
        lock(&self.spawned).push((name, body));
        Ok(())
    }

    /// Time passes by steps.
    fn now_ns(&self) -> u64 {
        model::steps().steps * STEP_NS
    }

    fn at_step(&self, step: &Step) {
        lock(&self.steps).push(*step);
        let hook = lock(&self.hook).clone();
        if let Some(hook) = hook {
            hook(step);
        }
    }
}

/// Runs `f` with interrupts masked on this vCPU.
fn masked<R>(f: impl FnOnce() -> R) -> R {
    let state = Machine::mask_irqs();
    let result = f();
    Machine::restore_irqs(state);
    result
}
