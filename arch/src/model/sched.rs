//! Who runs.
//!
//! A *task* is a job of [`run_on_cpus`](super::run_on_cpus): a coroutine with a stack of its own whose home is the
//! vCPU of its place in the list. Exactly one runs; the others stand before a step. A task may act as another vCPU
//! for a while, as the handler of an interrupt there; then that vCPU's own task stands still.
//!
//! ```text
//!            mood: now, and to whom?
//!                     |
//!   before(step) -> pass -> switch -> suspend ..... loop of run_on_cpus ..... resume -> next task's step
//!                     |
//!   sleep, stop, act as -> block: give way until the reason is gone
//! ```
//!
//! Outside of `run_on_cpus` the caller of `with_machine` is alone, and none of this happens.

use std::cell::{Cell, RefCell};
use std::ops::Range;
use std::ptr::NonNull;

use corosensei::Yielder;

use super::bind::current;
use super::machine::State;
use super::mood::{self, Mood};
use super::step::{Step, Steps};
use super::stuck;
use crate::contract::{CpuId, MAX_CPUS};
use crate::sync::held::Held;

/// Why a task does not go on, or that it does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Phase {
    /// There is none, or it has ended.
    Absent,
    /// It stands before a step.
    Ready,
    /// It sleeps at a place.
    Sleeps(usize),
    /// It wants to stop the others, and another does at present.
    AwaitsTurn,
    /// It stops the others, and not all have arrived.
    AwaitsOthers,
    /// It wants to act as a vCPU that cannot be interrupted yet.
    AwaitsVcpu(CpuId),
}

/// How a coroutine gives way.
pub(super) type Way = Yielder<(), ()>;

struct Task {
    phase: Cell<Phase>,
    acts_as: Cell<CpuId>,
    way: Cell<Option<NonNull<Way>>>,
}

/// What belongs to a vCPU, whoever acts as it.
struct Core {
    /// The task that acts as it.
    actor: Cell<CpuId>,
    irqs_masked: Cell<bool>,
    /// The ranks of the locks that it holds.
    held: RefCell<Held>,
}

/// The tasks of a machine; each is named by its home.
pub(super) struct Sched {
    /// What the running code is.
    cpu: Cell<CpuId>,
    /// The task that runs; `None` for the caller of `with_machine`.
    running: Cell<Option<CpuId>>,
    tasks: Box<[Task]>,
    cores: Box<[Core]>,
    /// The task that holds all others.
    stopper: Cell<Option<CpuId>>,
    /// Who comes after the one that suspends itself.
    next: Cell<CpuId>,
    /// A task has panicked, and the others are being unwound.
    ending: Cell<bool>,
    /// Nobody may come between at present.
    undisturbed: Cell<bool>,
    pub(super) mood: Cell<Mood>,
    /// Turns of spin loops since anybody made a step forward.
    turns: Cell<u32>,
    /// What tasks have slept on, in the order of first use.
    places: RefCell<Vec<usize>>,
    steps: Cell<u64>,
    switches: Cell<u64>,
    schedules: Cell<u64>,
}

/// Turns of spin loops in a row, by everybody, after which nobody will ever go on.
const MAX_TURNS: u32 = 1 << 17;

impl Sched {
    pub(super) fn new(cpus: usize) -> Self {
        let task =
            |cpu| Task { phase: Cell::new(Phase::Absent), acts_as: Cell::new(cpu), way: Cell::new(None) };
        let core = |cpu| Core {
            actor: Cell::new(cpu),
            irqs_masked: Cell::new(false),
            held: RefCell::new(Held::NOTHING),
        };
        Sched {
            cpu: Cell::new(CpuId::BOOT),
            running: Cell::new(None),
            tasks: (0..cpus).map(CpuId::new).map(task).collect(),
            cores: (0..cpus).map(CpuId::new).map(core).collect(),
            stopper: Cell::new(None),
            next: Cell::new(CpuId::BOOT),
            ending: Cell::new(false),
            undisturbed: Cell::new(false),
            mood: Cell::new(Mood::default()),
            turns: Cell::new(0),
            places: RefCell::default(),
            steps: Cell::new(0),
            switches: Cell::new(0),
            schedules: Cell::new(0),
        }
    }

    fn task(&self, task: CpuId) -> &Task {
        &self.tasks[task.index()]
    }

    fn core(&self, cpu: CpuId) -> &Core {
        &self.cores[cpu.index()]
    }

    /// What the running code is.
    pub(super) fn cpu(&self) -> CpuId {
        self.cpu.get()
    }

    /// The task that runs.
    pub(super) fn running(&self) -> Option<CpuId> {
        self.running.get()
    }

    pub(super) fn phase(&self, task: CpuId) -> Phase {
        self.task(task).phase.get()
    }

    pub(super) fn set_phase(&self, task: CpuId, phase: Phase) {
        self.task(task).phase.set(phase);
    }

    /// The tasks that have not ended.
    pub(super) fn live(&self) -> impl Iterator<Item = CpuId> {
        let all = (0..self.tasks.len()).map(CpuId::new);
        all.filter(|&task| self.phase(task) != Phase::Absent)
    }

    pub(super) fn is_masked(&self, cpu: CpuId) -> bool {
        self.core(cpu).irqs_masked.get()
    }

    /// Sets the interrupt mask of a vCPU; returns what was in force.
    pub(super) fn swap_mask(&self, cpu: CpuId, masked: bool) -> bool {
        self.core(cpu).irqs_masked.replace(masked)
    }

    pub(super) fn set_stopper(&self, task: Option<CpuId>) {
        self.stopper.set(task);
    }

    /// The number of the place where tasks sleep on `key`: the same in each run, which a key is not.
    pub(super) fn place(&self, key: usize) -> usize {
        let mut places = self.places.borrow_mut();
        let known = places.iter().position(|&place| place == key);
        known.unwrap_or_else(|| {
            places.push(key);
            places.len() - 1
        })
    }
}

/// Who can run.
impl Sched {
    /// Whether the task that acts as `cpu` is held by one that stops the others: it stands at a step with
    /// interrupts unmasked.
    fn is_held(&self, task: CpuId) -> bool {
        let held = self.stopper.get().is_some_and(|stopper| stopper != task);
        held && !self.is_masked(self.task(task).acts_as.get())
    }

    /// Whether all but `stopper` are held, asleep, or have ended.
    fn all_held(&self, stopper: CpuId) -> bool {
        self.live().all(|task| task == stopper || !self.is_masked(self.task(task).acts_as.get()))
    }

    /// Whether `cpu` can be interrupted: it is its own, and its task, if it has one, stands with interrupts unmasked.
    fn can_be_interrupted(&self, cpu: CpuId) -> bool {
        let idle = self.phase(cpu) == Phase::Absent;
        self.core(cpu).actor.get() == cpu && (idle || !self.is_masked(cpu))
    }

    fn can_run(&self, task: CpuId) -> bool {
        let is_displaced = self.core(self.task(task).acts_as.get()).actor.get() != task;
        !is_displaced
            && !self.is_held(task)
            && match self.phase(task) {
                Phase::Absent | Phase::Sleeps(_) => false,
                Phase::Ready => true,
                Phase::AwaitsTurn => self.stopper.get().is_none(),
                Phase::AwaitsOthers => self.all_held(task),
                Phase::AwaitsVcpu(cpu) => self.can_be_interrupted(cpu),
            }
    }

    /// The tasks but `task` that can run, in the order of vCPUs that begins after it.
    pub(super) fn others(&self, task: CpuId) -> Others {
        self.at_distances(task, 1..self.tasks.len())
    }

    fn at_distances(&self, task: CpuId, distances: Range<usize>) -> Others {
        let mut others = Others { tasks: [CpuId::BOOT; MAX_CPUS], len: 0 };
        let at = |distance| CpuId::new((task.index() + distance) % self.tasks.len());
        distances.map(at).filter(|&other| self.can_run(other)).for_each(|other| others.push(other));
        others
    }
}

/// A few tasks.
pub(super) struct Others {
    tasks: [CpuId; MAX_CPUS],
    len: usize,
}

impl Others {
    fn push(&mut self, task: CpuId) {
        self.tasks[self.len] = task;
        self.len += 1;
    }

    /// Leaves `task` out where it is not the only one.
    pub(super) fn without(mut self, task: CpuId) -> Self {
        if let Some(at) = self.as_slice().iter().position(|&other| other == task).filter(|_| self.len > 1) {
            self.tasks.copy_within(at + 1..self.len, at);
            self.len -= 1;
        }
        self
    }

    pub(super) fn as_slice(&self) -> &[CpuId] {
        &self.tasks[..self.len]
    }
}

/// Giving way.
impl Sched {
    /// Comes before a step of the running task: others may run before it returns.
    ///
    /// # Panics
    /// Nobody can go on.
    pub(super) fn pass(&self, state: &State, step: Step) {
        if self.ending.get() {
            self.suspend();
        }
        let spins = step == Step::Relax;
        if spins {
            assert!(self.turn() < MAX_TURNS, "{}", stuck::sentence(state));
        } else {
            self.turns.set(0);
        }
        let Some(me) = self.running.get().filter(|_| !self.undisturbed.get()) else { return };
        let to = match () {
            () if !self.can_run(me) => Some(self.someone(state, me)),
            () if spins => mood::pick(state, self.others(me)),
            () => mood::interrupts(state, me, step),
        };
        if let Some(to) = to {
            self.switch(to);
        }
    }

    /// Someone who can run, `task` last.
    ///
    /// # Panics
    /// There is nobody.
    pub(super) fn someone(&self, state: &State, task: CpuId) -> CpuId {
        let all = self.at_distances(task, 1..self.tasks.len() + 1);
        mood::pick(state, all).unwrap_or_else(|| panic!("{}", stuck::sentence(state)))
    }

    fn switch(&self, to: CpuId) {
        self.next.set(to);
        self.switches.set(self.switches.get() + 1);
        self.suspend();
    }

    fn suspend(&self) {
        let task = self.running.get().map(|task| self.task(task));
        let Some(way) = task.and_then(|task| task.way.get()) else { return };
        // SAFETY: the running task stored its way when it began; that lives as long as the coroutine, which is
        // the one that executes this.
        unsafe { way.as_ref() }.suspend(());
    }

    /// Lets others run until the reason for `phase` is gone. Nothing where the caller is alone or unwinds.
    ///
    /// # Panics
    /// Nobody can go on.
    pub(super) fn block(&self, state: &State, phase: Phase) {
        let Some(me) = self.running.get().filter(|_| !std::thread::panicking()) else { return };
        self.set_phase(me, phase);
        while !self.can_run(me) {
            self.switch(self.someone(state, me));
        }
        self.set_phase(me, Phase::Ready);
    }

    /// Runs `f` without anybody coming between.
    pub(super) fn undisturbed<R>(&self, f: impl FnOnce() -> R) -> R {
        /// Ends it, also when `f` panics.
        struct End<'s>(&'s Cell<bool>, bool);
        impl Drop for End<'_> {
            fn drop(&mut self) {
                self.0.set(self.1);
            }
        }
        let _end = End(&self.undisturbed, self.undisturbed.replace(true));
        f()
    }

    /// One more turn of a spin loop.
    pub(super) fn turn(&self) -> u32 {
        self.turns.set(self.turns.get() + 1);
        self.turns.get()
    }
}

/// What the loop of `run_on_cpus` says.
impl Sched {
    /// A schedule of the tasks 0..`tasks` begins.
    pub(super) fn begin(&self, tasks: usize) {
        self.tasks[..tasks].iter().for_each(|task| task.phase.set(Phase::Ready));
        self.mood.set(Mood::default());
        self.schedules.set(self.schedules.get() + 1);
    }

    /// `task` goes on; the coroutine is to be resumed.
    pub(super) fn enter(&self, task: CpuId) {
        self.running.set(Some(task));
        self.cpu.set(self.task(task).acts_as.get());
    }

    /// The running task tells how it gives way.
    pub(super) fn set_way(&self, way: &Way) {
        if let Some(task) = self.running.get() {
            self.task(task).way.set(Some(NonNull::from(way)));
        }
    }

    /// Whom the task that has suspended itself has chosen.
    pub(super) fn next(&self) -> CpuId {
        self.next.get()
    }

    /// `task` has ended.
    pub(super) fn end(&self, task: CpuId) {
        self.set_phase(task, Phase::Absent);
        self.task(task).way.set(None);
    }

    /// From now on every task that takes a step is unwound.
    pub(super) fn end_all(&self) {
        self.ending.set(true);
    }

    /// The schedule is over; the caller is vCPU 0 again.
    pub(super) fn finish(&self) {
        self.running.set(None);
        self.cpu.set(CpuId::BOOT);
        self.ending.set(false);
    }
}

/// Acting as another vCPU.
impl Sched {
    /// The running code is `cpu` from now on. Returns what it was.
    pub(super) fn become_cpu(&self, cpu: CpuId) -> CpuId {
        if let Some(task) = self.running.get() {
            self.task(task).acts_as.set(cpu);
        }
        self.cpu.replace(cpu)
    }

    /// The running task, if any, displaces the one of `cpu`.
    pub(super) fn displace(&self, cpu: CpuId) {
        self.core(cpu).actor.set(self.running.get().unwrap_or(cpu));
    }

    /// `cpu` is its own again.
    pub(super) fn give_back(&self, cpu: CpuId) {
        self.core(cpu).actor.set(cpu);
    }
}

/// Figures.
impl Sched {
    pub(super) fn steps(&self) -> u64 {
        self.steps.get()
    }

    /// Counts a step; returns how many there are.
    pub(super) fn count_step(&self) -> u64 {
        self.steps.set(self.steps.get() + 1);
        self.steps.get()
    }

    pub(super) fn figures(&self) -> Steps {
        Steps { schedules: self.schedules.get(), steps: self.steps.get(), switches: self.switches.get() }
    }
}

/// Sets the interrupt mask of the current vCPU; returns what was in force.
pub(super) fn swap_irq_mask(masked: bool) -> bool {
    current(|state, cpu| state.sched.swap_mask(cpu, masked))
}

/// Whether interrupts are masked on the current vCPU.
#[must_use]
pub fn irqs_masked() -> bool {
    current(|state, cpu| state.sched.is_masked(cpu))
}

/// Runs `f` on the ranks of the locks that the current vCPU holds.
pub(crate) fn with_held<R>(f: impl FnOnce(&mut Held) -> R) -> R {
    current(|state, cpu| f(&mut state.sched.core(cpu).held.borrow_mut()))
}
