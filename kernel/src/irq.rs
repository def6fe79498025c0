//! Interrupts, each to who handles it.
//!
//! | interrupt | who |
//! |---|---|
//! | SGI 0 | [`stop::ipi`]: a request of all CPUs, or a wish to choose anew |
//! | SGI 1 | another CPU has panicked: this one stops |
//! | SGI 2 | nothing: that it was taken is all ([`stop::grace_period`]) |
//! | virtual timer | [`sched::tick`], every 10 ms on each CPU |
//! | UART | [`uart::on_interrupt`] |
//!
//! Interrupts do not nest. They run on the stack of the thread that they interrupt; once all are handled, that
//! thread may lose its CPU ([`sched::preempt`]).
#![forbid(unsafe_code)]

use arch::Machine;
use arch::aarch64::gic::{self, Affinity, Interrupt};
use arch::aarch64::timer;
use arch::contract::{Cpu, CpuId, MAX_CPUS};
use arch::sync::{Rank, SpinLock};
use spin::Once;

use crate::{sched, stop, uart};

/// From one tick to the next.
const TICK_NS: u64 = 10_000_000;

const IPI: Interrupt = Interrupt::sgi(0);
const PANIC: Interrupt = Interrupt::sgi(1);
const NUDGE: Interrupt = Interrupt::sgi(2);

static TIMER: Once<Interrupt> = Once::new();
static UART: Once<Interrupt> = Once::new();
/// Where each CPU is, for messages to one of them.
static AFFINITIES: SpinLock<[Affinity; MAX_CPUS]> = SpinLock::new(Rank(87), [Affinity::new(0); MAX_CPUS]);

/// Sets the devices' interrupts up, and this CPU's.
///
/// # Errors
/// What the interrupt controller says.
pub fn init_boot_cpu(timer: Interrupt, uart: Interrupt) -> Result<(), gic::Error> {
    TIMER.call_once(|| timer);
    UART.call_once(|| uart);
    init_this_cpu()?;
    uart::enable_receive(uart)
}

/// Lets this CPU's timer and messages from other CPUs in. Interrupts stay masked.
///
/// # Errors
/// What the interrupt controller says.
pub fn init_this_cpu() -> Result<(), gic::Error> {
    AFFINITIES.lock()[Machine::id().index()] = Affinity::this_cpu();
    let timer = TIMER.get().copied().ok_or(gic::Error::NotReady)?;
    gic::init_this_cpu(&[IPI, PANIC, NUDGE, timer])?;
    timer::set_deadline(timer::now_ns() + TICK_NS);
    Ok(())
}

/// Handles every interrupt that is pending. Called with interrupts masked; may come back on another CPU.
pub fn handle() {
    stop::seen();
    while let Some(interrupt) = gic::acknowledge() {
        if interrupt == IPI {
            // Ended first: an active interrupt would keep the next one from waking this CPU while it is held.
            gic::end(interrupt);
            stop::ipi();
            continue;
        }
        if interrupt == PANIC {
            Machine::halt();
        } else if TIMER.get() == Some(&interrupt) {
            timer::set_deadline(timer::now_ns() + TICK_NS);
            sched::tick();
        } else if UART.get() == Some(&interrupt) {
            uart::on_interrupt();
        }
        gic::end(interrupt);
    }
    sched::preempt();
}

/// Interrupts one CPU, which then runs [`stop::ipi`].
pub fn send_ipi(cpu: CpuId) {
    let affinity = AFFINITIES.lock()[cpu.index()];
    gic::send(IPI, affinity);
}

/// Interrupts one CPU, which then has been seen ([`stop::seen`]), and does nothing else.
pub fn nudge(cpu: CpuId) {
    let affinity = AFFINITIES.lock()[cpu.index()];
    gic::send(NUDGE, affinity);
}

/// Interrupts every other CPU, which then runs [`stop::ipi`].
pub fn send_ipi_others() {
    gic::send_to_all_others(IPI);
}

/// Stops every other CPU that has interrupts enabled, for ever.
pub fn stop_others() {
    gic::send_to_all_others(PANIC);
}

/// Waits until there may be something to do.
pub fn wait_for_interrupt() {
    Machine::wait_for_interrupt();
}
