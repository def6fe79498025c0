//! Which virtual CPU the calling host thread is.

use std::any::Any;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::ptr::NonNull;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use super::machine::{MachineDesc, State, lock};
use super::owed;
use super::step::Casualty;
use super::stop::hold_if_wanted;
use crate::contract::CpuId;

/// How long a thread waits for its vCPU before that is taken for a deadlock of the test.
const PATIENCE: Duration = Duration::from_secs(60);

/// The thread's place in a machine.
#[derive(Clone, Copy)]
struct Bound {
    state: NonNull<State>,
    cpu: CpuId,
}

thread_local! {
    static BOUND: Cell<Option<Bound>> = const { Cell::new(None) };
    static IRQS_MASKED: Cell<bool> = const { Cell::new(false) };
}

/// The calling thread's place.
///
/// # Panics
/// It is no vCPU.
fn bound() -> Bound {
    match BOUND.get() {
        Some(bound) => bound,
        None => panic!("model: this thread is no vCPU of any machine; run it inside model::with_machine"),
    }
}

/// Runs `f` on the current machine as the current vCPU.
///
/// # Panics
/// Where the calling thread is no vCPU.
pub(super) fn current<R>(f: impl FnOnce(&State, CpuId) -> R) -> R {
    let bound = bound();
    // SAFETY: `bound.state` points into the `Arc` that the `Binding` of this thread holds; `BOUND` is
    // cleared before that is dropped, and `f` runs on this thread, so inside the binding's life.
    f(unsafe { bound.state.as_ref() }, bound.cpu)
}

/// This thread's interrupt mask, set to `masked`; returns what was in force.
pub(super) fn swap_irq_mask(masked: bool) -> bool {
    IRQS_MASKED.replace(masked)
}

/// Whether interrupts are masked on the current vCPU.
#[must_use]
pub fn irqs_masked() -> bool {
    IRQS_MASKED.get()
}

/// Makes the thread a vCPU for as long as it lives.
struct Binding {
    machine: Handle,
    cpu: CpuId,
    outer: Option<Bound>,
    outer_masked: bool,
}

impl Binding {
    /// Waits until no other thread is `cpu`.
    fn new(machine: &Handle, cpu: CpuId) -> Self {
        let machine = machine.clone();
        machine.occupy(cpu);
        let bound = Bound { state: NonNull::from(&*machine.0), cpu };
        Binding { machine, cpu, outer: BOUND.replace(Some(bound)), outer_masked: IRQS_MASKED.replace(false) }
    }
}

impl Drop for Binding {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.machine.0.failed.store(true, Ordering::Relaxed);
        }
        BOUND.set(self.outer);
        IRQS_MASKED.set(self.outer_masked);
        self.machine.vacate(self.cpu);
    }
}

/// A machine that other host threads can join.
#[derive(Clone)]
pub struct Handle(Arc<State>);

impl Handle {
    /// Runs `f` with the calling thread as vCPU `cpu`, once no other thread is that vCPU. A vCPU that has no
    /// kernel root yet starts with that of vCPU 0.
    ///
    /// # Panics
    /// The machine has no such vCPU, or another thread does not leave it for a minute.
    pub fn run_as<R>(&self, cpu: CpuId, f: impl FnOnce() -> R) -> R {
        let cpus = self.0.desc.cpus;
        assert!(cpu.index() < cpus, "model: no vCPU {cpu} on a machine of {cpus}");
        let _binding = Binding::new(self, cpu);
        lock(&self.0.regime).start(cpu);
        hold_if_wanted(&self.0, cpu);
        f()
    }

    fn occupy(&self, cpu: CpuId) {
        let bit = 1 << cpu.index();
        let free = |occupied: &mut u32| *occupied & bit != 0;
        let (mut occupied, waited) = self
            .0
            .vacated
            .wait_timeout_while(lock(&self.0.occupied), PATIENCE, free)
            .unwrap_or_else(PoisonError::into_inner);
        assert!(!waited.timed_out(), "model: vCPU {cpu} is another host thread, which does not leave it");
        *occupied |= bit;
    }

    fn vacate(&self, cpu: CpuId) {
        *lock(&self.0.occupied) &= !(1 << cpu.index());
        self.0.vacated.notify_all();
    }
}

/// The current machine, to be carried to other host threads.
#[must_use]
pub fn handle() -> Handle {
    let bound = bound();
    // SAFETY: the pointer came from an `Arc` that this thread's `Binding` keeps alive; the count is
    // raised for the one `Arc` made here.
    Handle(unsafe {
        Arc::increment_strong_count(bound.state.as_ptr());
        Arc::from_raw(bound.state.as_ptr())
    })
}

/// Makes a machine, and runs `f` as its vCPU 0.
pub fn with_machine<R>(desc: MachineDesc, f: impl FnOnce() -> R) -> R {
    let machine = Handle(Arc::new(State::new(desc)));
    let result = machine.run_as(CpuId::BOOT, f);
    if let Some(sentence) = owed::unpaid(&machine.0, &lock(&machine.0.regime)) {
        panic!("{sentence}");
    }
    result
}

/// [`with_machine`] with [`MachineDesc::DEFAULT`].
pub fn with_default_machine<R>(f: impl FnOnce() -> R) -> R {
    with_machine(MachineDesc::DEFAULT, f)
}

/// Lets another host thread be this vCPU while `f` runs: for a thread that waits, as a sleeping kernel
/// thread leaves its CPU. `f` must not use the machine.
///
/// # Panics
/// Interrupts are masked.
pub fn off_cpu<R>(f: impl FnOnce() -> R) -> R {
    /// Takes the vCPU back, also when `f` panics.
    struct Away {
        machine: Handle,
        place: Bound,
    }
    impl Drop for Away {
        fn drop(&mut self) {
            self.machine.occupy(self.place.cpu);
            BOUND.set(Some(self.place));
        }
    }
    let (machine, place) = (handle(), bound());
    assert!(!irqs_masked(), "model: vCPU {} sleeps with interrupts masked", place.cpu);
    BOUND.set(None);
    machine.vacate(place.cpu);
    let _away = Away { machine, place };
    f()
}

/// A job for [`run_on_cpus`].
pub type Job<'a> = Box<dyn FnOnce() + Send + 'a>;

/// Runs `jobs[n]` as vCPU n, all at once, each on a host thread; the caller must be vCPU 0 and runs the
/// first. Returns when all have ended. A panic in one stops the others at their next step and goes on in
/// the caller.
pub fn run_on_cpus(jobs: Vec<Job<'_>>) {
    let machine = handle();
    assert_eq!(bound().cpu, CpuId::BOOT, "model: run_on_cpus is for vCPU 0");
    let mut jobs = jobs.into_iter();
    let Some(own) = jobs.next() else { return };
    let panics: Vec<_> = std::thread::scope(|scope| {
        let start = |(n, job)| {
            let machine = &machine;
            scope.spawn(move || machine.run_as(CpuId::new(n), job))
        };
        let others: Vec<_> = (1..).zip(jobs).map(start).collect();
        let own = catch_unwind(AssertUnwindSafe(own));
        if own.is_err() {
            machine.0.failed.store(true, Ordering::Relaxed);
        }
        // vCPU 0 has nothing more to do, so whoever stops the machine need not wait for it.
        let masked = swap_irq_mask(false);
        let results = off_cpu(|| others.into_iter().map(|other| other.join()).collect::<Vec<_>>());
        swap_irq_mask(masked);
        std::iter::once(own).chain(results).filter_map(Result::err).collect()
    });
    let by_rank = |panic: &Box<dyn Any + Send>| panic.is::<Casualty>();
    if let Some(first) = panics.into_iter().min_by_key(by_rank) {
        resume_unwind(first);
    }
}
