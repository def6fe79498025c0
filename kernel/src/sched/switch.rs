//! Changing from one thread to another.
//!
//! The table's lock is held across the switch: taken by the thread that leaves, released by the one that comes, each
//! on its own guard, for every thread that waits for a CPU has left through here. A thread that runs for the first
//! time has no guard, and releases what was handed over.

use arch::aarch64::context::{self, Context};
use arch::aarch64::percpu::STACK_BYTES;
use arch::contract::{Cpu, CpuId};
use arch::{Machine, VirtAddr};

use super::table::{TABLE, Table};
use super::thread::{Body, ThreadId};
use super::{fp, life};
use crate::{irq, stop, the_mm, time};

/// Makes this CPU's present context its idle thread. Threads can be spawned from then on.
pub fn init_boot_cpu() {
    adopt(&mut TABLE.lock());
}

/// Joins the scheduler with this CPU, and never comes back.
pub fn idle_loop() -> ! {
    adopt(&mut TABLE.lock());
    loop {
        yield_now();
        irq::wait_for_interrupt();
    }
}

/// Once per CPU; the second call on the boot CPU, which has joined already, changes nothing.
fn adopt(table: &mut Table) {
    if table.running().is_some() {
        return;
    }
    let id: ThreadId = table.new_tenant().unwrap_or_else(|| panic!("no slot for the idle thread of a CPU"));
    let thread = &mut table.threads[usize::from(id.slot)];
    (thread.name, thread.body) = ("idle", Body::Idle);
    table.adopt_idle(Machine::id(), id);
}

/// The timer's interrupt, every 10 ms.
pub fn tick() {
    let mut table = TABLE.lock();
    table.wake_sleepers(time::now_ns(), kick);
    if let Some(thread) = table.running_thread() {
        thread.ticks += 1;
    }
    table.want_resched();
}

/// Asks this CPU to choose anew at the end of the interrupt.
pub fn want_resched() {
    TABLE.lock().want_resched();
}

/// At the end of an interrupt that came while interrupts were enabled: gives the CPU to another thread, if that
/// was asked for. Interrupts are masked.
pub fn preempt() {
    if TABLE.lock().resched_wanted() {
        yield_now();
    }
}

/// Gives other threads the CPU; comes back when it is this one's turn.
pub fn yield_now() {
    reschedule(|_| ());
}

/// Tells an idle CPU that there is work.
pub(super) fn kick(cpu: CpuId) {
    if cpu != Machine::id() {
        stop::kick(cpu);
    }
}

/// Changes the running thread's state by `leave` and runs whoever is next. Comes back when the thread runs again.
pub(super) fn reschedule(leave: impl FnOnce(&mut Table)) {
    arch::sync::assert_may_sleep("a change of threads");
    let irq = Machine::mask_irqs();
    let mut table = TABLE.lock();
    leave(&mut table);
    if let Some((from, to)) = table.choose() {
        fp::leave(&mut table.threads[usize::from(from)]);
        let from = &raw mut table.threads[usize::from(from)].context;
        let to = table.threads[usize::from(to)].context;
        // SAFETY: `context::switch` asks for
        // 1. masked interrupts: `irq` above;
        // 2. a `from` that is writable and this thread's: its slot in the table, which is static and stays locked
        //    until the other side releases it;
        // 3. a `to` that nobody has gone on with: `choose` gives a thread that waits for a CPU, and no other CPU
        //    can choose it, as it is marked running; its stack is freed only after its end.
        unsafe { context::switch(from, to) };
    }
    drop(table);
    finish();
    Machine::restore_irqs(irq);
}

/// Installs the address space of the thread that has just come to run. Interrupts are masked.
fn finish() {
    let process = super::table::current_process();
    match process {
        Some(process) => the_mm().activate_space(process.active_space()),
        None => the_mm().activate_space(None),
    }
}

/// Where a new thread begins, on its own stack.
extern "C" fn first_steps(_: usize) -> ! {
    // SAFETY: `release_handed_over` asks that this CPU holds the lock and that no guard for it will be dropped here:
    // `reschedule` took it on this CPU, and its guard stays on the stack of the thread that left.
    unsafe { TABLE.release_handed_over() };
    finish();
    let body = TABLE.lock().running_thread().map_or(Body::Idle, |thread| thread.body);
    Machine::unmask_irqs();
    match body {
        Body::Kernel(run) => run(the_mm()),
        Body::User => crate::process::run_current(),
        Body::Idle => {}
    }
    life::exit()
}

/// A thread that has not run yet, on the stack whose lowest usable address is `base`.
pub(super) fn begin(base: VirtAddr) -> Context {
    // SAFETY: `Context::new` asks for the aligned end of a mapped stack that nobody else uses: `base` is a fresh one from
    // `Mm::alloc_stack`, of this size.
    unsafe { Context::new(base.add(STACK_BYTES), first_steps, 0) }
}
