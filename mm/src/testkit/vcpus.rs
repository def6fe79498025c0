//! Several vCPUs at once, and holding all but one of them.
//!
//! A vCPU is a host thread, which nothing interrupts: it is held where it says that it may be
//! ([`safe_point`]), where it sleeps, and when it has ended.
#![forbid(unsafe_code)]

use std::sync::{Condvar, Mutex, PoisonError};

use arch::model::{self, Job};

use super::host_env::{HostEnv, PATIENCE, lock};

#[derive(Default)]
struct State {
    /// Threads between a start and an end of [`run_on_cpus`] that are not held and do not sleep.
    running: usize,
    /// Somebody has stopped the others, or waits for them to stop.
    stopping: bool,
}

/// Who runs.
#[derive(Default)]
pub(super) struct World {
    state: Mutex<State>,
    changed: Condvar,
}

std::thread_local!(static COUNTED: std::cell::Cell<bool> = const { std::cell::Cell::new(false) });

impl World {
    /// Runs `f` once every other thread is held.
    pub(super) fn stopped(&self, f: impl FnOnce()) {
        arch::sync::assert_may_sleep("stopping the machine");
        self.uncounted(|| {
            model::off_cpu(|| {
                let mut state = lock(&self.state);
                while state.stopping {
                    state = self.wait(state);
                }
                state.stopping = true;
                while state.running != 0 {
                    state = self.wait(state);
                }
            });
            f();
            lock(&self.state).stopping = false;
            self.changed.notify_all();
        });
    }

    /// Runs `f`, which sleeps; the thread counts as held meanwhile, and comes back when nobody stops it.
    pub(super) fn while_asleep(&self, f: impl FnOnce()) {
        self.uncounted(f);
    }

    /// Gives way to whoever stops the machine.
    fn safe_point(&self) {
        if lock(&self.state).stopping {
            self.uncounted(|| ());
        }
    }

    /// Runs `f` while this thread does not count as running.
    fn uncounted(&self, f: impl FnOnce()) {
        let counted = COUNTED.replace(false);
        if counted {
            self.leave();
        }
        f();
        if counted {
            model::off_cpu(|| self.enter());
            COUNTED.set(true);
        }
    }

    fn enter(&self) {
        let mut state = lock(&self.state);
        while state.stopping {
            state = self.wait(state);
        }
        state.running += 1;
    }

    fn leave(&self) {
        lock(&self.state).running -= 1;
        self.changed.notify_all();
    }

    fn wait<'a>(&self, state: std::sync::MutexGuard<'a, State>) -> std::sync::MutexGuard<'a, State> {
        let (state, waited) =
            self.changed.wait_timeout(state, PATIENCE).unwrap_or_else(PoisonError::into_inner);
        assert!(!waited.timed_out(), "a thread stops the machine, and another passes no safe point");
        state
    }
}

/// Counts this thread as running while it lives.
struct Running<'a>(&'a World);

impl<'a> Running<'a> {
    fn new(world: &'a World) -> Self {
        model::off_cpu(|| world.enter());
        COUNTED.set(true);
        Running(world)
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        COUNTED.set(false);
        self.0.leave();
    }
}

/// Runs `jobs[n]` as vCPU n, all at once; the caller is vCPU 0. A panic in a job goes on in the caller.
/// A job that runs long without sleeping should pass [`safe_point`]s, or nobody can stop the machine.
pub fn run_on_cpus(env: &HostEnv, jobs: Vec<Job<'_>>) {
    model::run_on_cpus(jobs.into_iter().map(|job| counted(env, job)).collect());
}

fn counted<'a>(env: &'a HostEnv, job: Job<'a>) -> Job<'a> {
    Box::new(move || {
        let _running = Running::new(&env.world);
        job();
    })
}

/// A place where this thread may be held, as interrupts would: no spinlock is held.
pub fn safe_point(env: &HostEnv) {
    arch::sync::assert_may_sleep("a safe point");
    env.world.safe_point();
}
