//! What memory management needs from the kernel above it: the only upward calls there are.
#![forbid(unsafe_code)]

use crate::Mm;
use crate::steps::Step;

/// No kernel thread could be started: memory is out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SpawnError;

/// The process whose thread this is is to end: what it waits for is of no use to it any more.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Killed;

/// The kernel, seen from memory management. No spinlock is held across any of these calls, but for
/// [`Self::now_ns`], [`Self::unpark_all`] and [`Self::at_step`], which take no lock of rank below 85.
pub trait KernelEnv: Sync {
    /// CPUs that are up, 1..=[`arch::contract::MAX_CPUS`].
    fn online_cpus(&self) -> usize;

    /// Runs `f` on this CPU while every other one runs the scheduler's stopper: a thread of its own that comes before all
    /// others, and waits there with interrupts masked, touching nothing but its own stack and the word that it waits for.
    /// A CPU comes there by a switch of threads, so none of them owns a spinlock (Linux: `stop_machine`). One that is up
    /// but runs no threads yet is held as by [`Self::pause_others`]. `f` runs with interrupts masked.
    fn stop_machine(&self, f: &mut dyn FnMut());

    /// Runs `f` on this CPU while every other one is held in the handler of an interrupt, touching nothing but its own
    /// stack and the word that it waits for. As spinlocks mask interrupts, no held CPU owns one. Unlike
    /// [`Self::stop_machine`] it waits for no thread to be scheduled.
    fn pause_others(&self, f: &mut dyn FnMut());

    /// Returns when every other CPU has been seen with its interrupts open, or idle, since the call: whatever ran there
    /// with interrupts masked when it began has ended, and what begins there from then on sees all that the caller wrote
    /// before the call. Nobody is held. Interrupts are open; may sleep.
    fn grace_period(&self);

    /// Runs `f` once on every online CPU, interrupts masked, and returns when all have.
    fn run_on_each_cpu(&self, f: &(dyn Fn() + Sync));

    /// Sleeps while `still_wait` holds. It is asked under the lock that [`Self::unpark_all`] takes, so a
    /// wake-up between question and sleep is not lost. May return early; the caller asks again.
    fn park(&self, key: usize, still_wait: &dyn Fn() -> bool);

    /// As [`Self::park`], for a wait whose end nobody can promise: the end of the process whose thread this is ends it.
    ///
    /// # Errors
    /// [`Killed`].
    fn park_killable(&self, key: usize, still_wait: &dyn Fn() -> bool) -> Result<(), Killed>;

    /// As [`Self::park`], at most until this time, in nanoseconds since boot. May return early.
    fn park_until(&self, key: usize, until: u64, still_wait: &dyn Fn() -> bool);

    /// Wakes everybody who sleeps on `key`.
    fn unpark_all(&self, key: usize);

    /// Starts a kernel thread.
    ///
    /// # Errors
    /// [`SpawnError`] where there is no memory for it.
    fn spawn(&self, name: &'static str, body: fn(&Mm)) -> Result<(), SpawnError>;

    /// Nanoseconds since boot.
    fn now_ns(&self) -> u64;

    /// A step of a remap has been made; see [`crate::steps`]. Must not touch struct pages: some may have no
    /// translation at this moment.
    fn at_step(&self, step: &Step);
}
