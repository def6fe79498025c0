//! Interrupts between CPUs: choose anew, run a function on each CPU, hold all other CPUs.
//!
//! One request for all CPUs is under way at a time. Who wants to make one while another is made waits with its
//! interrupts enabled, so it answers the other. A CPU that is held sleeps (WFI): with more CPUs than the host has, one
//! that span would keep the host from running the one that it waits for.
//!
//! ```text
//!   caller                          every other CPU
//!   mask, publish, SGI  ----------> interrupt: arrived += 1
//!   wait for all to arrive          wait while the request stands, interrupts masked
//!   f()                             .
//!   withdraw, SGI ----------------> left: arrived -= 1
//!   wait for all to leave
//! ```

use core::sync::atomic::{AtomicBool, AtomicPtr, AtomicUsize, Ordering};

use arch::Machine;
use arch::contract::{Cpu, CpuId};

use crate::{irq, sched};

/// Somebody makes a request of all CPUs.
static BUSY: AtomicBool = AtomicBool::new(false);
/// What the other CPUs do, while a request stands; null while none does.
static REQUEST: AtomicPtr<Request<'static>> = AtomicPtr::new(core::ptr::null_mut());
/// CPUs that answer the request at the moment.
static ARRIVED: AtomicUsize = AtomicUsize::new(0);
/// CPUs that run the scheduler.
static ONLINE: AtomicUsize = AtomicUsize::new(1);

enum Request<'a> {
    /// Stand still until the request is withdrawn.
    Hold,
    /// Run this once, then stand still until the request is withdrawn.
    Run(&'a (dyn Fn() + Sync)),
}

/// CPUs that are up.
pub fn online_cpus() -> usize {
    ONLINE.load(Ordering::Acquire)
}

/// This CPU answers requests from now on. Interrupts between CPUs are enabled on it.
pub fn join() {
    ONLINE.fetch_add(1, Ordering::AcqRel);
}

/// Asks another CPU to choose anew.
pub fn kick(cpu: CpuId) {
    irq::send_ipi(cpu);
}

/// Runs `f` while every other CPU stands still with interrupts masked. No spinlock is held.
pub fn stop_machine(f: &mut dyn FnMut()) {
    with_all_others(Request::Hold, f);
}

/// Runs `f` while every other CPU is held in the handler of an interrupt. No spinlock is held.
pub fn pause_others(f: &mut dyn FnMut()) {
    with_all_others(Request::Hold, f);
}

/// Returns when every other CPU has taken an interrupt. No spinlock is held.
pub fn grace_period() {
    run_on_each_cpu(&|| ());
}

/// Runs `f` once on every CPU, interrupts masked. No spinlock is held.
pub fn run_on_each_cpu(f: &(dyn Fn() + Sync)) {
    with_all_others(Request::Run(f), &mut || f());
}

fn with_all_others(request: Request<'_>, here: &mut dyn FnMut()) {
    arch::sync::assert_may_sleep("a request of all CPUs");
    let irq = loop {
        let irq = Machine::mask_irqs();
        if BUSY.compare_exchange(false, true, Ordering::Acquire, Ordering::Relaxed).is_ok() {
            break irq;
        }
        Machine::restore_irqs(irq);
        sched::park(key(), &|| BUSY.load(Ordering::Acquire));
    };
    let others = online_cpus() - 1;
    REQUEST.store((&raw const request).cast_mut().cast(), Ordering::Release);
    irq::send_ipi_others();
    wait_until(|| ARRIVED.load(Ordering::Acquire) == others);
    here();
    REQUEST.store(core::ptr::null_mut(), Ordering::Release);
    irq::send_ipi_others();
    wait_until(|| ARRIVED.load(Ordering::Acquire) == 0);
    BUSY.store(false, Ordering::Release);
    Machine::restore_irqs(irq);
    sched::unpark_all(key());
}

/// What makers of a request wait on.
fn key() -> usize {
    (&raw const BUSY).addr()
}

/// The interrupt from another CPU. Interrupts are masked.
pub fn ipi() {
    let request = REQUEST.load(Ordering::Acquire);
    if !request.is_null() {
        ARRIVED.fetch_add(1, Ordering::AcqRel);
        // SAFETY: the request lives on the stack of its maker, which goes on only when every CPU that is online has
        // arrived, and returns only when every one has left; this CPU has neither left nor been counted twice, since
        // it answers with interrupts masked until the request is withdrawn.
        if let Request::Run(f) = unsafe { &*request } {
            f();
        }
        // The interrupt that announces the withdrawal stays pending here, so the wait cannot miss it.
        while !REQUEST.load(Ordering::Acquire).is_null() {
            irq::wait_for_interrupt();
        }
        ARRIVED.fetch_sub(1, Ordering::AcqRel);
    }
    sched::want_resched();
}

fn wait_until(done: impl Fn() -> bool) {
    while !done() {
        Machine::relax();
    }
}
