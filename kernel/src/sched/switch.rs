//! Changing from one thread to another.
//!
//! The table's lock is held across the switch: taken by the thread that leaves, released by the one that comes, each
//! on its own guard, for every thread that waits for a CPU has left through here. A thread that runs for the first
//! time has no guard, and releases what was handed over.

use allocator_api2::boxed::Box;
use arch::aarch64::context::{self, Context};
use arch::aarch64::percpu::STACK_BYTES;
use arch::aarch64::tls;
use arch::contract::{Cpu, CpuId};
use arch::sync::{SpinGuard, sleeping};
use arch::{Machine, VirtAddr};
use mm::kalloc::KAlloc;

use super::table::{TABLE, Table};
use super::thread::{Body, Thread};
use super::{fp, life};
use crate::{irq, stop, the_mm, time};

/// Makes this CPU's present context its idle thread. Threads can be spawned from then on.
pub fn init_boot_cpu() {
    adopt();
    if let Err(error) = life::make_stopper(CpuId::BOOT) {
        panic!("no stopper for the CPU that boots: {error}");
    }
}

/// Joins the scheduler with this CPU, and never comes back.
pub fn idle_loop() -> ! {
    adopt();
    loop {
        yield_now();
        // Masked, so that the CPU is not called idle after an interrupt that it took; one that comes ends the wait.
        let irq = Machine::mask_irqs();
        stop::idles();
        irq::wait_for_interrupt();
        Machine::restore_irqs(irq);
    }
}

/// Once per CPU; the second call on the boot CPU, which has joined already, changes nothing.
fn adopt() {
    if TABLE.lock().running().is_some() {
        return;
    }
    let thread = Box::try_new_in(Thread::new("idle", Body::Idle), KAlloc).ok();
    let mut table = TABLE.lock();
    match thread.and_then(|thread| table.admit(thread).ok()) {
        Some(id) => table.adopt_idle(Machine::id(), id),
        None => panic!("no place for the idle thread of a CPU"),
    }
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
    stop::seen();
    let mut table = TABLE.lock();
    leave(&mut table);
    let mut switched = None;
    if let Some((from, to)) = table.choose() {
        if let Some((running, name)) = table.traced(to) {
            the_mm().stats.trace.switched(running, name);
        }
        switched = table.thread(to).map(|thread| thread.context).zip(table.thread(from));
    }
    if let Some((to, from)) = switched {
        fp::leave(from);
        from.tls = tls::get();
        from.holds = sleeping::leave_cpu();
        let from = &raw mut from.context;
        // SAFETY: `context::switch` asks for
        // 1. masked interrupts: `irq` above;
        // 2. a `from` that is writable and this thread's: it stands in the thread's box, which is freed only after the
        //    thread's end, and the table stays locked until the other side releases it;
        // 3. a `to` that nobody has gone on with: `choose` gives a thread that waits for a CPU, and no other CPU
        //    can choose it, as it is marked running; its stack is freed only after its end.
        unsafe { context::switch(from, to) };
        finish(table);
    } else {
        drop(table);
    }
    Machine::restore_irqs(irq);
}

/// Installs the address space of the thread that has just come to run. Interrupts are masked.
fn finish(mut table: SpinGuard<'_, Table>) {
    let process = table.running_thread().and_then(|thread| {
        tls::set(thread.tls);
        sleeping::enter_cpu(thread.holds);
        thread.process.clone()
    });
    drop(table);
    the_mm().activate_space(process.as_ref().and_then(|process| process.active_space()));
}

/// Where a new thread begins, on its own stack.
extern "C" fn first_steps(_: usize) -> ! {
    // SAFETY: `release_handed_over` asks that this CPU holds the lock and that no guard for it will be dropped here:
    // `reschedule` took it on this CPU, and its guard stays on the stack of the thread that left.
    unsafe { TABLE.release_handed_over() };
    finish(TABLE.lock());
    let (body, process, frame) = match TABLE.lock().running_thread() {
        Some(thread) => (thread.body, thread.process.clone(), thread.frame.take()),
        None => (Body::Idle, None, None),
    };
    Machine::unmask_irqs();
    match (body, process, frame) {
        (Body::Kernel(run), ..) => run(the_mm()),
        (Body::Stopper, ..) => stand_by(),
        (Body::User, Some(process), Some(frame)) => crate::process::run_user(process, frame),
        _ => {}
    }
    life::exit()
}

/// A stopper: stands still whenever it was called.
fn stand_by() -> ! {
    let _masked = Machine::mask_irqs();
    loop {
        if TABLE.lock().take_call() {
            stop::stopper();
        }
        reschedule(Table::stand_by);
    }
}

/// A thread that has not run yet, on the stack whose lowest usable address is `base`.
pub(super) fn begin(base: VirtAddr) -> Context {
    // SAFETY: `Context::new` asks for the aligned end of a mapped stack that nobody else uses: `base` is a fresh one
    // from `Mm::alloc_stack`, of this size.
    unsafe { Context::new(base.add(STACK_BYTES), first_steps, 0) }
}
