//! The table of threads, the lists that they are in, and what each CPU runs.
//!
//! A slot is in the list that its state says, so that starting, waking and ending a thread take constant time:
//!
//! | state | list |
//! |---|---|
//! | Free | the free slots, once they have had a tenant |
//! | Runnable | the run queue; none for an idle thread |
//! | Running, Standby | none |
//! | Parked | that of its key's bucket |
//! | Sleeping, ParkedUntil | the sleepers |
//! | Dead | the dead |
#![forbid(unsafe_code)]

use allocator_api2::boxed::Box;
use arch::contract::{Cpu, CpuId, MAX_CPUS};
use arch::sync::SpinLock;
use arch::{Machine, VirtAddr};
use arrayvec::ArrayVec;
use mm::kalloc::{KAlloc, KArc};
use mm::locks;
use mm::trace::Running;

use super::thread::{State, Thread, ThreadId};
use crate::list::{Linked, Links, List};
use crate::process::Process;

/// Slots: threads that can exist at a time, the idle threads among them.
pub const MAX_THREADS: usize = 8192;
/// Lists of parked threads.
pub(super) const BUCKETS: usize = 512;
/// Stacks of ended threads that are kept for the next ones.
pub(super) const SPARE_STACKS: usize = 16;

/// All that the scheduler knows; rank [`locks::SCHEDULER`].
pub(super) static TABLE: SpinLock<Table> = SpinLock::new(locks::SCHEDULER, Table::EMPTY);

/// A slot of the table.
pub(super) struct Slot {
    pub(super) state: State,
    tenant: u32,
    links: Links,
    pub(super) thread: Option<Box<Thread, KAlloc>>,
}

impl Linked for Slot {
    fn links(&mut self) -> &mut Links {
        &mut self.links
    }
}

pub(super) struct Table {
    pub(super) slots: [Slot; MAX_THREADS],
    /// Slots below this one have had a tenant.
    used: u16,
    free: List,
    ready: List,
    parked: [List; BUCKETS],
    sleepers: List,
    /// Sleepers that wait for a key too.
    keyed: u16,
    dead: List,
    /// The slot that each CPU runs, and the slot of its idle thread.
    cpus: [Option<CpuSlots>; MAX_CPUS],
    /// Each CPU's stopper, from before the CPU joins.
    stoppers: [Option<Stopper>; MAX_CPUS],
    /// No sleeper wakes before this time.
    next_wake: u64,
    /// Stacks that nobody stands on.
    pub(super) spare: ArrayVec<VirtAddr, SPARE_STACKS>,
}

#[derive(Clone, Copy)]
struct CpuSlots {
    running: u16,
    idle: u16,
    resched: bool,
}

/// The thread of a CPU that comes before all others once it is called.
#[derive(Clone, Copy)]
struct Stopper {
    slot: u16,
    called: bool,
}

/// The bucket of a key.
pub(super) const fn bucket(key: usize) -> usize {
    // Keys are addresses; their low bits say little.
    (key >> 4 ^ key >> 13) % BUCKETS
}

impl Table {
    const EMPTY: Table = Table {
        slots: [const { Slot { state: State::Free, tenant: 0, links: Links::NONE, thread: None } };
            MAX_THREADS],
        used: 0,
        free: List::EMPTY,
        ready: List::EMPTY,
        parked: [List::EMPTY; BUCKETS],
        sleepers: List::EMPTY,
        keyed: 0,
        dead: List::EMPTY,
        cpus: [None; MAX_CPUS],
        stoppers: [None; MAX_CPUS],
        next_wake: u64::MAX,
        spare: ArrayVec::new_const(),
    };

    pub(super) fn slot(&mut self, slot: u16) -> &mut Slot {
        &mut self.slots[usize::from(slot)]
    }

    /// The thread in a slot, if there is one.
    pub(super) fn thread(&mut self, slot: u16) -> Option<&mut Thread> {
        self.slot(slot).thread.as_deref_mut()
    }

    /// Gives a thread a slot; it is in no list yet. Gives it back where there is no slot.
    pub(super) fn admit(&mut self, thread: Box<Thread, KAlloc>) -> Result<ThreadId, Box<Thread, KAlloc>> {
        let slot = if usize::from(self.used) < MAX_THREADS {
            self.used += 1;
            self.used - 1
        } else {
            match self.free.pop(&mut self.slots) {
                Some(slot) => slot,
                None => return Err(thread),
            }
        };
        let place = self.slot(slot);
        place.tenant = place.tenant.wrapping_add(1);
        place.thread = Some(thread);
        Ok(ThreadId { slot, tenant: place.tenant })
    }

    /// Takes the CPU's first context as its idle thread.
    pub(super) fn adopt_idle(&mut self, cpu: CpuId, id: ThreadId) {
        self.slot(id.slot).state = State::Running(cpu);
        self.cpus[cpu.index()] = Some(CpuSlots { running: id.slot, idle: id.slot, resched: false });
    }

    /// Takes a thread that has not run yet as the CPU's stopper.
    pub(super) fn adopt_stopper(&mut self, cpu: CpuId, id: ThreadId) {
        self.slot(id.slot).state = State::Standby;
        self.stoppers[cpu.index()] = Some(Stopper { slot: id.slot, called: false });
    }

    fn stopper(&mut self) -> Option<&mut Stopper> {
        self.stoppers[Machine::id().index()].as_mut()
    }

    /// Calls this CPU's stopper: the next change of threads is to it. Whether there is one, and this CPU changes threads.
    pub(super) fn call_stopper(&mut self) -> bool {
        let joined = self.cpu().is_some();
        let stopper = self.stopper().filter(|_| joined);
        stopper.map(|stopper| stopper.called = true).is_some()
    }

    /// Whether this CPU's stopper, which runs, was called; it has not been any more.
    pub(super) fn take_call(&mut self) -> bool {
        self.stopper().is_some_and(|stopper| core::mem::replace(&mut stopper.called, false))
    }

    /// This CPU's stopper, which runs, has nothing to do, unless it has been called again.
    pub(super) fn stand_by(&mut self) {
        if let Some(Stopper { slot, called: false }) = self.stopper().copied() {
            self.slot(slot).state = State::Standby;
        }
    }

    fn cpu(&mut self) -> Option<&mut CpuSlots> {
        self.cpus[Machine::id().index()].as_mut()
    }

    /// The slot that this CPU runs, once it has joined.
    pub(super) fn running(&mut self) -> Option<u16> {
        self.cpu().map(|cpu| cpu.running)
    }

    /// The thread that this CPU runs, once it has joined.
    pub(super) fn running_thread(&mut self) -> Option<&mut Thread> {
        let slot = self.running()?;
        self.thread(slot)
    }

    /// Whether the thread still lives in its slot.
    pub(super) fn is_alive(&self, id: ThreadId) -> bool {
        let slot = &self.slots[usize::from(id.slot)];
        slot.tenant == id.tenant && !matches!(slot.state, State::Free | State::Dead)
    }

    /// Makes a thread, which is in no list, wait for a CPU. Returns a CPU that idles and could take it.
    pub(super) fn make_runnable(&mut self, slot: u16) -> Option<CpuId> {
        self.slot(slot).state = State::Runnable;
        self.ready.push(&mut self.slots, slot);
        let idles = |cpu: &Option<CpuSlots>| cpu.is_some_and(|cpu| cpu.running == cpu.idle && !cpu.resched);
        let index = self.cpus.iter().position(idles)?;
        if let Some(cpu) = &mut self.cpus[index] {
            cpu.resched = true;
        }
        Some(CpuId::new(index))
    }

    /// The running thread begins to wait: for a key, or for a time.
    pub(super) fn wait_for(&mut self, state: State) {
        let Some(slot) = self.running() else { return };
        match state {
            State::Parked(key) => self.parked[bucket(key)].push(&mut self.slots, slot),
            State::Sleeping(until) | State::ParkedUntil(_, until) => {
                self.sleepers.push(&mut self.slots, slot);
                self.next_wake = self.next_wake.min(until);
                self.keyed += u16::from(matches!(state, State::ParkedUntil(..)));
            }
            _ => return,
        }
        self.slot(slot).state = state;
    }

    /// Ends the wait of a thread, if it waits. Returns a CPU that idles and could take it.
    pub(super) fn wake(&mut self, slot: u16) -> Option<CpuId> {
        match self.slot(slot).state {
            State::Parked(key) => self.parked[bucket(key)].remove(&mut self.slots, slot),
            State::Sleeping(_) => self.sleepers.remove(&mut self.slots, slot),
            State::ParkedUntil(..) => {
                self.sleepers.remove(&mut self.slots, slot);
                self.keyed -= 1;
            }
            _ => return None,
        }
        self.make_runnable(slot)
    }

    /// Wakes everybody who is parked on `key`; calls `kick` for CPUs that could take one. The sleepers are looked
    /// through only while one of them waits for a key.
    pub(super) fn wake_parked(&mut self, key: usize, mut kick: impl FnMut(CpuId)) {
        let sleepers = self.sleepers.first().filter(|_| self.keyed > 0);
        for first in [self.parked[bucket(key)].first(), sleepers] {
            let mut next = first;
            while let Some(slot) = next {
                next = List::after(&mut self.slots, slot);
                let waits = match self.slot(slot).state {
                    State::Parked(other) | State::ParkedUntil(other, _) => other == key,
                    _ => false,
                };
                if waits {
                    self.wake(slot).into_iter().for_each(&mut kick);
                }
            }
        }
    }

    /// Makes every sleeper runnable whose time has come; calls `kick` for CPUs that could take one.
    pub(super) fn wake_sleepers(&mut self, now: u64, mut kick: impl FnMut(CpuId)) {
        if now < self.next_wake {
            return;
        }
        self.next_wake = u64::MAX;
        let mut next = self.sleepers.first();
        while let Some(slot) = next {
            next = List::after(&mut self.slots, slot);
            match self.slot(slot).state {
                State::Sleeping(until) | State::ParkedUntil(_, until) if until > now => {
                    self.next_wake = self.next_wake.min(until);
                }
                _ => self.wake(slot).into_iter().for_each(&mut kick),
            }
        }
    }

    /// The running thread ends: nothing runs it again.
    pub(super) fn retire(&mut self) {
        if let Some(slot) = self.running() {
            self.slot(slot).state = State::Dead;
            self.dead.push(&mut self.slots, slot);
        }
    }

    /// Takes an ended thread out of its slot, which is free then. It has left its CPU: the lock is held from
    /// [`Self::retire`] to the switch.
    pub(super) fn bury(&mut self) -> Option<Box<Thread, KAlloc>> {
        let slot = self.dead.pop(&mut self.slots)?;
        self.slot(slot).state = State::Free;
        self.free.push(&mut self.slots, slot);
        self.slot(slot).thread.take()
    }

    /// Asks this CPU to choose anew at the end of the interrupt.
    pub(super) fn want_resched(&mut self) {
        if let Some(cpu) = self.cpu() {
            cpu.resched = true;
        }
    }

    /// Whether this CPU was asked to choose anew.
    pub(super) fn resched_wanted(&mut self) -> bool {
        self.cpu().is_some_and(|cpu| cpu.resched)
    }

    /// Who runs next on this CPU: `(from, to)`, where they differ. A stopper that was called comes before all others. A
    /// thread that was running goes to the end of the queue.
    pub(super) fn choose(&mut self) -> Option<(u16, u16)> {
        let cpu = Machine::id();
        let CpuSlots { running, idle, .. } = self.cpus[cpu.index()]?;
        let goes_on = matches!(self.slot(running).state, State::Running(_));
        let stopper = self.stopper().filter(|stopper| stopper.called).map(|stopper| stopper.slot);
        let next = match stopper.or_else(|| self.ready.pop(&mut self.slots)) {
            Some(slot) => slot,
            None if goes_on => running,
            None => idle,
        };
        if goes_on && running != next {
            self.slot(running).state = State::Runnable;
            if running != idle {
                self.ready.push(&mut self.slots, running);
            }
        }
        self.slot(next).state = State::Running(cpu);
        self.cpus[cpu.index()] = Some(CpuSlots { running: next, idle, resched: false });
        (running != next).then_some((running, next))
    }

    /// The thread in a slot, as traces call it, and its name, which is that of its process where it has one.
    pub(super) fn traced(&mut self, slot: u16) -> Option<(Running, &str)> {
        let number = ThreadId { slot, tenant: self.slot(slot).tenant }.number();
        let thread = self.thread(slot)?;
        let process = thread.process.as_ref();
        let running = Running { thread: number, pid: process.map_or(0, |process| process.pid()) };
        Some((running, process.map_or(thread.name, |process| process.name())))
    }

    /// What `ps` prints of the thread in a slot; `None` past the last slot that was ever used.
    fn info(&mut self, slot: u16) -> Option<ThreadInfo> {
        if slot >= self.used {
            return None;
        }
        let state = self.slot(slot).state;
        let number = ThreadId { slot, tenant: self.slot(slot).tenant }.number();
        let mut info = ThreadInfo { slot: slot.into(), number, name: "", state, ticks: 0, pid: None };
        if let Some(thread) = self.thread(slot) {
            (info.name, info.ticks) = (thread.name, thread.ticks);
            info.pid = thread.process.as_ref().map(|process| process.pid());
        }
        Some(info)
    }
}

/// What `ps` prints of a thread.
#[derive(Clone, Copy)]
pub struct ThreadInfo {
    /// Its slot.
    pub slot: usize,
    /// What traces call it ([`ThreadId::number`]).
    pub number: u64,
    /// Its name.
    pub name: &'static str,
    /// Where it is in its life.
    pub state: State,
    /// Timer ticks during which it ran.
    pub ticks: u64,
    /// The process that it runs, if it runs one.
    pub pid: Option<u32>,
}

/// Tells `each` of every thread. The table is not locked while `each` runs.
pub fn for_each_thread(mut each: impl FnMut(&ThreadInfo)) {
    let info = |slot| TABLE.lock().info(slot);
    (0..=u16::MAX).map_while(info).filter(|info| info.state != State::Free).for_each(|info| each(&info));
}

/// The interrupt that asks this CPU to stop: its stopper runs at the end of it. Whether it has one, and has come to the
/// scheduler.
pub fn call_stopper() -> bool {
    TABLE.lock().call_stopper()
}

/// The name of the thread that runs this, for a report of an error: waits for no lock, and gives none where the table
/// cannot be looked at.
pub fn running_name() -> Option<&'static str> {
    let mut table = arch::sync::may_take(locks::SCHEDULER).then(|| TABLE.try_lock()).flatten()?;
    table.running_thread().map(|thread| thread.name)
}

/// The process whose thread runs this, if it is one.
pub fn current_process() -> Option<KArc<Process>> {
    TABLE.lock().running_thread()?.process.clone()
}
