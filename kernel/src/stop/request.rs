//! Requests of all CPUs: one is under way at a time.
//!
//! Who wants to make one while another is made waits with its interrupts enabled, so it answers the other. A CPU that
//! stands still sleeps (WFI): with more CPUs than the host has, one that span would keep the host from running the one
//! that it waits for.
//!
//! ```text
//!   caller                          every other CPU
//!   mask, publish, SGI  ----------> interrupt; a stop: it calls its stopper, to which it changes at the end of it
//!   wait for all to arrive          masked: arrived += 1
//!   .                               wait while the request stands
//!   f()                             .
//!   withdraw, SGI ----------------> left: arrived -= 1
//!   wait for all to leave
//! ```
//! # A CPU that answers does so once
//! The interrupt of a request may come together with another for which this CPU was to choose anew, or twice. While a
//! CPU has arrived its interrupts are masked; the request is withdrawn by the time it leaves; and the next is published
//! only when all have left. So a request that a CPU finds in the handler is one that it has not answered, and stands until
//! it has.
//!
//! # A CPU without a stopper
//! One that is up but has not come to the scheduler yet, which is a moment of its start, stands still in the handler for
//! a stop too. It holds no spinlock there, and runs no thread.

use core::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, AtomicUsize, Ordering};

use arch::Machine;
use arch::contract::{Cpu, CpuId};

use super::figures::{self, Purpose};
use crate::{irq, sched, time};

/// Somebody makes a request of all CPUs.
static BUSY: AtomicBool = AtomicBool::new(false);
/// What the other CPUs do, while a request stands; null while none does.
static REQUEST: AtomicPtr<Request<'static>> = AtomicPtr::new(core::ptr::null_mut());
/// CPUs that answer the request at the moment.
static ARRIVED: AtomicUsize = AtomicUsize::new(0);
/// The CPUs that are up, a bit each.
static ONLINE: AtomicU32 = AtomicU32::new(1 << CpuId::BOOT.index());

enum Request<'a> {
    /// Let the stopper stand still until the request is withdrawn.
    Stop,
    /// Stand still until the request is withdrawn.
    Pause,
    /// Run this once, then stand still until the request is withdrawn.
    Each(&'a (dyn Fn() + Sync)),
}

impl Request<'_> {
    fn purpose(&self) -> Purpose {
        match self {
            Request::Stop => Purpose::Stop,
            Request::Pause => Purpose::Pause,
            Request::Each(_) => Purpose::Each,
        }
    }
}

/// The CPUs that are up, a bit each.
pub(super) fn online() -> u32 {
    ONLINE.load(Ordering::SeqCst)
}

/// CPUs that are up.
pub fn online_cpus() -> usize {
    online().count_ones() as usize
}

/// This CPU answers requests from now on. Interrupts between CPUs are enabled on it.
pub fn join() {
    ONLINE.fetch_or(1 << Machine::id().index(), Ordering::SeqCst);
}

/// Asks another CPU to choose anew.
pub fn kick(cpu: CpuId) {
    irq::send_ipi(cpu);
}

/// Runs `f` while every other CPU runs its stopper, which stands still. No spinlock is held.
pub fn stop_machine(f: &mut dyn FnMut()) {
    with_all_others(Request::Stop, f);
}

/// Runs `f` while every other CPU stands still in the handler of an interrupt. No spinlock is held.
pub fn pause_others(f: &mut dyn FnMut()) {
    with_all_others(Request::Pause, f);
}

/// Runs `f` once on every CPU, interrupts masked. No spinlock is held.
pub fn run_on_each_cpu(f: &(dyn Fn() + Sync)) {
    with_all_others(Request::Each(f), &mut || f());
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
    figures::request(request.purpose());
    // Twice: once to come, once to go.
    figures::sent(request.purpose(), 2 * others);
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
        // SAFETY: the request lives on the stack of its maker, which goes on only when every CPU that is online has
        // arrived, and returns only when every one has left; this CPU has not arrived yet (see the module), and uses
        // the reference no more once it has left.
        match unsafe { &*request } {
            Request::Stop if sched::call_stopper() => {}
            Request::Stop | Request::Pause => stand_still(),
            Request::Each(f) => answer(f),
        }
    }
    sched::want_resched();
}

/// What the stopper does when it was called. Interrupts are masked.
pub fn stopper() {
    stand_still();
}

fn stand_still() {
    let began = time::now_ns();
    arrive();
    wait_for_withdrawal();
    // Before it leaves: when the call of the maker returns, every pause of it has been counted.
    figures::stood_still(time::now_ns() - began);
    leave();
}

/// Arrives, runs `f`, and leaves when the request is withdrawn.
fn answer(f: &dyn Fn()) {
    arrive();
    f();
    wait_for_withdrawal();
    leave();
}

fn arrive() {
    ARRIVED.fetch_add(1, Ordering::AcqRel);
}

/// The interrupt that announces the withdrawal stays pending here, so the wait cannot miss it. Any other that is pending
/// ends each sleep at once.
fn wait_for_withdrawal() {
    while !REQUEST.load(Ordering::Acquire).is_null() {
        irq::wait_for_interrupt();
        Machine::relax();
    }
}

/// What this CPU did before, the maker of the request sees when its call returns.
fn leave() {
    ARRIVED.fetch_sub(1, Ordering::AcqRel);
}

fn wait_until(done: impl Fn() -> bool) {
    while !done() {
        Machine::relax();
    }
}
