//! The table of threads, the run queue, and what each CPU runs.
#![forbid(unsafe_code)]

use arch::Machine;
use arch::contract::{Cpu, CpuId, MAX_CPUS};
use arch::sync::SpinLock;
use mm::kalloc::KArc;
use mm::locks;

use super::thread::{MAX_THREADS, State, Thread, ThreadId};
use crate::process::Process;

/// All that the scheduler knows; rank [`locks::SCHEDULER`].
pub(super) static TABLE: SpinLock<Table> = SpinLock::new(locks::SCHEDULER, Table::EMPTY);

pub(super) struct Table {
    pub(super) threads: [Thread; MAX_THREADS],
    queue: Ring,
    /// The slot that each CPU runs, and the slot of its idle thread.
    cpus: [Option<CpuSlots>; MAX_CPUS],
    /// No sleeper wakes before this time.
    next_wake: u64,
}

#[derive(Clone, Copy)]
struct CpuSlots {
    running: u16,
    idle: u16,
    resched: bool,
}

/// Slots in the order in which they get a CPU. A thread is in it at most once, so it cannot overflow.
struct Ring {
    slots: [u16; MAX_THREADS],
    first: usize,
    len: usize,
}

impl Ring {
    fn push(&mut self, slot: u16) {
        assert!(self.len < MAX_THREADS, "a thread is in the run queue twice");
        self.slots[(self.first + self.len) % MAX_THREADS] = slot;
        self.len += 1;
    }
    fn pop(&mut self) -> Option<u16> {
        if self.len == 0 {
            return None;
        }
        let slot = self.slots[self.first];
        self.first = (self.first + 1) % MAX_THREADS;
        self.len -= 1;
        Some(slot)
    }
}

impl Table {
    const EMPTY: Table = Table {
        threads: [const { Thread::FREE }; MAX_THREADS],
        queue: Ring { slots: [0; MAX_THREADS], first: 0, len: 0 },
        cpus: [None; MAX_CPUS],
        next_wake: u64::MAX,
    };

    /// A slot without tenant gets a new one, not yet runnable.
    pub(super) fn new_tenant(&mut self) -> Option<ThreadId> {
        let slot = self.threads.iter().position(|t| t.state == State::Free)?;
        let thread = &mut self.threads[slot];
        thread.tenant = thread.tenant.wrapping_add(1);
        Some(ThreadId { slot: slot as u16, tenant: thread.tenant })
    }

    /// Takes the CPU's first context as its idle thread.
    pub(super) fn adopt_idle(&mut self, cpu: CpuId, id: ThreadId) {
        self.threads[usize::from(id.slot)].state = State::Running(cpu);
        self.cpus[cpu.index()] = Some(CpuSlots { running: id.slot, idle: id.slot, resched: false });
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
        Some(&mut self.threads[usize::from(slot)])
    }

    /// Whether the thread still lives in its slot.
    pub(super) fn is_alive(&self, id: ThreadId) -> bool {
        let thread = &self.threads[usize::from(id.slot)];
        thread.tenant == id.tenant && !matches!(thread.state, State::Free | State::Dead)
    }

    /// Makes a thread wait for a CPU. Returns a CPU that idles and could take it.
    pub(super) fn make_runnable(&mut self, slot: u16) -> Option<CpuId> {
        self.threads[usize::from(slot)].state = State::Runnable;
        self.queue.push(slot);
        let idles = |cpu: &Option<CpuSlots>| cpu.is_some_and(|cpu| cpu.running == cpu.idle && !cpu.resched);
        let index = self.cpus.iter().position(idles)?;
        if let Some(cpu) = &mut self.cpus[index] {
            cpu.resched = true;
        }
        Some(CpuId::new(index))
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

    /// Who runs next on this CPU: `(from, to)`, where they differ. A thread that was running goes to the end of the
    /// queue.
    pub(super) fn choose(&mut self) -> Option<(u16, u16)> {
        let cpu = Machine::id();
        let CpuSlots { running, idle, .. } = self.cpus[cpu.index()]?;
        let goes_on = matches!(self.threads[usize::from(running)].state, State::Running(_));
        let next = match self.queue.pop() {
            Some(slot) => slot,
            None if goes_on => running,
            None => idle,
        };
        if goes_on && running != next {
            self.threads[usize::from(running)].state = State::Runnable;
            if running != idle {
                self.queue.push(running);
            }
        }
        self.threads[usize::from(next)].state = State::Running(cpu);
        self.cpus[cpu.index()] = Some(CpuSlots { running: next, idle, resched: false });
        (running != next).then_some((running, next))
    }

    /// A sleeper was added.
    pub(super) fn note_sleeper(&mut self, until: u64) {
        self.next_wake = self.next_wake.min(until);
    }

    /// Makes every sleeper runnable whose time has come; calls `kick` for CPUs that could take one.
    pub(super) fn wake_sleepers(&mut self, now: u64, mut kick: impl FnMut(CpuId)) {
        if now < self.next_wake {
            return;
        }
        self.next_wake = u64::MAX;
        for slot in 0..MAX_THREADS {
            match self.threads[slot].state {
                State::Sleeping(until) if until <= now => {
                    self.make_runnable(slot as u16).into_iter().for_each(&mut kick);
                }
                State::Sleeping(until) => self.note_sleeper(until),
                _ => {}
            }
        }
    }
}

/// What `ps` prints of a thread.
#[derive(Clone, Copy)]
pub struct ThreadInfo {
    /// Its slot.
    pub slot: usize,
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
    for slot in 0..MAX_THREADS {
        let info = {
            let table = TABLE.lock();
            let thread = &table.threads[slot];
            let pid = thread.process.as_ref().map(|process| process.pid());
            ThreadInfo { slot, name: thread.name, state: thread.state, ticks: thread.ticks, pid }
        };
        if info.state != State::Free {
            each(&info);
        }
    }
}

/// The process of the thread in this slot.
fn process_in(slot: usize) -> Option<KArc<Process>> {
    TABLE.lock().threads[slot].process.clone()
}

/// Tells `each` of every process that has a thread. The table is not locked while `each` runs.
pub fn for_each_process(mut each: impl FnMut(&Process)) {
    (0..MAX_THREADS).filter_map(process_in).for_each(|process| each(&process));
}

/// The first process that has a thread and is the `wanted` one.
pub fn find_process(wanted: impl Fn(&Process) -> bool) -> Option<KArc<Process>> {
    (0..MAX_THREADS).filter_map(process_in).find(|process| wanted(process))
}

/// The process whose thread runs this, if it is one.
pub fn current_process() -> Option<KArc<Process>> {
    TABLE.lock().running_thread()?.process.clone()
}
